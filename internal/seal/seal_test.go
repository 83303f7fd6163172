package seal_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headgate/internal/seal"
)

func keys(t *testing.T) *seal.Keys {
	t.Helper()
	k, _, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSeal(t *testing.T) {
	k := keys(t)
	blob := k.Seal("row:1", []byte("hunter2"))
	t.Run("opens in its place only", func(t *testing.T) {
		if got, err := k.Open("row:1", blob); err != nil || string(got) != "hunter2" {
			t.Fatalf("got %q, %v", got, err)
		}
		if _, err := k.Open("row:2", blob); err == nil {
			t.Fatal("a blob moved to another row opened")
		}
		if _, err := keys(t).Open("row:1", blob); err == nil {
			t.Fatal("another installation's keys opened it")
		}
	})
	t.Run("every flipped bit and every cut is an error", func(t *testing.T) {
		for i := range blob {
			for bit := range 8 {
				bad := bytes.Clone(blob)
				bad[i] ^= 1 << bit
				if _, err := k.Open("row:1", bad); err == nil {
					t.Fatalf("bit %d of byte %d went unnoticed", bit, i)
				}
			}
			if _, err := k.Open("row:1", blob[:i]); err == nil {
				t.Fatalf("cut at %d went unnoticed", i)
			}
		}
	})
	t.Run("never seals the same bytes twice", func(t *testing.T) {
		if bytes.Equal(blob, k.Seal("row:1", []byte("hunter2"))) {
			t.Fatal("equal blobs")
		}
	})
}

func TestRotation(t *testing.T) {
	_, text, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	old, err := seal.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	_, fresh, _ := seal.Generate()
	var a, b map[string]any
	_ = json.Unmarshal(text, &a)
	_ = json.Unmarshal([]byte(strings.NewReplacer("m1", "m2", "p1", "p2").Replace(string(fresh))), &b)
	for _, part := range []string{"master", "pepper"} {
		b[part] = append(b[part].([]any), a[part].([]any)...)
	}
	merged, _ := json.Marshal(b)
	both, err := seal.Parse(merged)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := both.Open("x", old.Seal("x", []byte("v"))); err != nil {
		t.Fatal("a value sealed before the rotation does not open after it")
	}
	want, _ := old.Hash("key")
	if got := both.Hashes("key"); len(got) != 2 || got[1] != want {
		t.Fatal("a credential hashed before the rotation is not found after it")
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys.json")
	if _, err := seal.Load(path, false); err == nil {
		t.Fatal("a missing file was made although the database holds sealed values")
	}
	k, err := seal.Load(path, true)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode %v, %v", info.Mode(), err)
	}
	again, err := seal.Load(path, false)
	if err != nil {
		t.Fatal(err)
	}
	if complete, err := again.Verify(k.Check()); err != nil || !complete {
		t.Fatal("the file does not hold the keys it was made with")
	}
	if _, err := keys(t).Verify(k.Check()); err == nil {
		t.Fatal("foreign keys passed the check")
	}
	if _, err := seal.Load(filepath.Join(filepath.Dir(path), "none", "keys.json"), true); err == nil {
		t.Fatal("a file was made in a directory that is not there")
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) > 0 {
		t.Fatalf("%v is left behind, %v", left, err)
	}
	for _, bad := range []string{"", "{}", `{"version":1,"master":[{"id":"m","key":"c2hvcnQ="}],"pepper":[]}`,
		`{"version":1,"master":[{"id":"m","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}],"pepper":[{"id":"p","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}`} {
		if _, err := seal.Parse([]byte(bad)); err == nil {
			t.Fatalf("accepted %q", bad)
		}
	}
}

// TestCheck mixes the parts of two keys files: sealed values open with the one,
// credentials are found with the other.
func TestCheck(t *testing.T) {
	const file = `{"version":1,"master":[%s],"pepper":[%s]}`
	key := func(id string, b byte) string {
		text := bytes.Repeat([]byte{b, b + 1}, 16)
		return fmt.Sprintf(`{"id":%q,"key":%q}`, id, base64.StdEncoding.EncodeToString(text))
	}
	parse := func(masters, peppers string) *seal.Keys {
		k, err := seal.Parse(fmt.Appendf(nil, file, masters, peppers))
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	own := parse(key("m1", 1), key("p1", 3))
	stored := own.Check()
	for name, k := range map[string]*seal.Keys{"the same": own, "with newer keys in front": parse(key("m2", 7)+","+key("m1", 1), key("p2", 9)+","+key("p1", 3))} {
		t.Run(name+" passes", func(t *testing.T) {
			if complete, err := k.Verify(stored); err != nil || !complete {
				t.Fatal(complete, err)
			}
		})
	}
	for name, k := range map[string]*seal.Keys{"another pepper": parse(key("m1", 1), key("p1", 5)), "another master key": parse(key("m1", 5), key("p1", 3))} {
		t.Run(name+" does not", func(t *testing.T) {
			if _, err := k.Verify(stored); err == nil {
				t.Fatal("accepted")
			}
		})
	}
	t.Run("a value that says nothing of the pepper is to be replaced", func(t *testing.T) {
		if complete, err := own.Verify(own.Seal("installation:check", []byte("headgate"))); err != nil || complete {
			t.Fatal(complete, err)
		}
	})
}

func TestValue(t *testing.T) {
	v := struct{ Secret seal.Value }{seal.NewValue("hunter2")}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "v", v, "s", v.Secret)
	j, _ := json.Marshal(v)
	for _, out := range []string{fmt.Sprint(v), fmt.Sprintf("%v %+v %#v %s %q %x %d", v, v, v, v.Secret, v.Secret, v.Secret, v.Secret), string(j), log.String()} {
		if strings.Contains(out, "hunter2") || strings.Contains(out, "68756e74") {
			t.Fatalf("leaked: %s", out)
		}
	}
	if v.Secret.Reveal() != "hunter2" {
		t.Fatal("lost")
	}
}
