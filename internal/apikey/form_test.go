package apikey_test

import (
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/testkit"
)

const base62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

func TestForm(t *testing.T) {
	t.Run("a hundred thousand keys are different, valid and of their kind", func(t *testing.T) {
		seen := map[string]bool{}
		for i := range 100_000 {
			p := apikey.Prefixes()[i%10]
			value := apikey.Generate(p.Text)
			if seen[value] {
				t.Fatal("a key came twice")
			}
			seen[value] = true
			if kind, ok := apikey.Parse(value); !ok || kind != p.Kind || len(value) != len(p.Text)+36 {
				t.Fatalf("a fresh %s key parses as %v, %v", p.Text, kind, ok)
			}
		}
	})
	t.Run("every change of one character is refused", func(t *testing.T) {
		for _, p := range apikey.Prefixes() {
			value := apikey.Generate(p.Text)
			for i := range len(value) {
				for c := range 256 {
					changed := value[:i] + string([]byte{byte(c)}) + value[i+1:]
					if _, ok := apikey.Parse(changed); ok && changed != value {
						t.Fatalf("%s with byte %d changed to %#x passes", p.Text, i, c)
					}
				}
				if _, ok := apikey.Parse(value[:i] + value[i+1:]); ok {
					t.Fatal("a key passes without one of its characters")
				}
				if _, ok := apikey.Parse(value[:i] + "0" + value[i:]); ok {
					t.Fatal("a key passes with a character too many")
				}
			}
		}
	})
	t.Run("characters are spread evenly", func(t *testing.T) {
		count := map[rune]int{}
		const keys = 20_000
		for range keys {
			for _, c := range apikey.Generate("sk_")[3:33] {
				count[c]++
			}
		}
		for _, c := range base62 {
			if want := keys * 30 / 62; count[c] < want*9/10 || count[c] > want*11/10 {
				t.Errorf("%q came %d times, want about %d", c, count[c], want)
			}
		}
	})
}

func TestKindOf(t *testing.T) {
	for text, want := range map[string]access.Kind{
		"mcp_sk_": access.PersonalKey, "mcp_sk": access.AccountKey, "mcp_x": access.AccountKey, "sk_": access.DiagnosticsKey,
		"sk_live": access.DiagnosticsKey, "sk_live_": access.SecretKey, "sk_test_x": access.SecretKey, "pk_live_": access.PublishableKey,
		"pk_test_": access.PublishableKey, "ok_": access.OrganizationKey, "wk_": access.WorkspaceKey, "op_": access.OperatorKey,
	} {
		if kind, known := apikey.KindOf(text); !known || kind != want {
			t.Errorf("KindOf(%q) = %v, %v, want %v", text, kind, known, want)
		}
	}
	for _, text := range []string{"", "sk", "SK_live_", "pk_", " ok_", "Bearer ok_", "eyJhbGciOi", "mk_"} {
		if kind, known := apikey.KindOf(text); known {
			t.Errorf("KindOf(%q) = %v", text, kind)
		}
	}
}

func TestRefuseManaging(t *testing.T) {
	refused := map[access.Kind]bool{access.PersonalKey: true, access.DiagnosticsKey: true, access.AccountKey: true, access.WorkspaceKey: true, access.PublishableKey: true, access.SecretKey: true}
	for _, p := range apikey.Prefixes() {
		for what, value := range map[string]string{"a well-formed key": apikey.Generate(p.Text), "garbage": p.Text + "' OR 1=1 --"} {
			err := apikey.RefuseManaging(value)
			if refused[p.Kind] {
				testkit.Fault(t, err, "access.session_only")
			} else if err != nil {
				t.Errorf("%s of %s: %v", what, p.Text, err)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("mcp_sk_" + strings.Repeat("a", 36))
	f.Add(apikey.Generate("ok_"))
	f.Fuzz(func(t *testing.T, value string) {
		kind, ok := apikey.Parse(value)
		if ok {
			if claimed, known := apikey.KindOf(value); !known || claimed != kind {
				t.Fatalf("%q parses as %v, claims %v", value, kind, claimed)
			}
		}
	})
}

// K03: what tools like sqlmap send as a credential is refused by its form, for
// every kind of key, quickly and without asking the store.
func TestInjections(t *testing.T) {
	w := newWorld(t, testkit.SQLite(t), apikey.Options{})
	quotes := []string{"'", `"`, "`", "')", `")`, "'))", "';", "\\'", "%27", "%2527", "\u02bc", "\uff07"}
	attacks := []string{" OR 1=1", " OR '1'='1", " AND SLEEP(5)", "; SELECT pg_sleep(5)", " UNION ALL SELECT NULL,NULL,NULL", "; DROP TABLE keys", " AND (SELECT 1 FROM keys LIMIT 1)=1", " RLIKE SLEEP(5)",
		" AND 1=CAST((SELECT hash FROM keys) AS INT)", " PROCEDURE ANALYSE()", "||(SELECT '')||", " HAVING 1=1", " ORDER BY 1", "; ATTACH DATABASE 'x' AS y", " AND 1=LIKE('ABC',UPPER(HEX(RANDOMBLOB(100000000))))"}
	ends := []string{"", "--", "-- -", "#", "/*", ";--", "\x00"}
	before, tried := w.store.Queries(), 0
	for _, p := range apikey.Prefixes() {
		good := apikey.Generate(p.Text)
		for _, q := range quotes {
			for i, a := range attacks {
				for _, junk := range []string{p.Text + q + a + ends[i%len(ends)], good + q + a, good[:len(good)-1] + q, q + a + ends[(i+1)%len(ends)] + good} {
					tried++
					_, err := w.use(junk)
					testkit.Fault(t, err, "apikey.invalid")
				}
			}
		}
	}
	if tried < 2000 || w.store.Queries() != before {
		t.Errorf("%d tried, %d queries", tried, w.store.Queries()-before)
	}
}
