package activity_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"headgate/internal/activity"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/testkit"
)

func TestRedact(t *testing.T) {
	key := "mcp_sk_" + strings.Repeat("a1B2", 9)
	for _, c := range []struct{ name, in, want string }{
		{"plain text stays", `{"text":"hello \"you\"","n":[1,2]}`, `{"text":"hello \"you\"","n":[1,2]}`},
		{"a secret member's value goes, whatever it is", `{"API-Key": "x","a":1,"clientSecret":{"b":["}"]},"c":2,"token":7}`, `{"API-Key":"[redacted]","a":1,"clientSecret":"[redacted]","c":2,"token":"[redacted]"}`},
		{"names the schema marks go", `{"pin":"1234","pine":"tree"}`, `{"pin":"[redacted]","pine":"tree"}`},
		{"keys of ours go wherever they stand", `{"text":"use ` + key + ` please"}`, `{"text":"[redacted]"}`},
		{"progress tokens are no secrets", `{"_meta":{"progressToken":"p1"}}`, `{"_meta":{"progressToken":"p1"}}`},
		{"a cut text keeps nothing of a cut secret", `{"password":"hunt`, `{"password":"[redacted]"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := string(activity.Redact([]byte(c.in), activity.BodyCap, []string{"pin"})); got != c.want {
				t.Fatalf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func FuzzRedact(f *testing.F) {
	f.Add(`{"password":"hunter2","a":[{"token":{"x":"hunter2"}}]}`)
	f.Add(`{"a":"\\\"","secret":"hunter2`)
	f.Fuzz(func(t *testing.T, in string) {
		out := activity.Redact([]byte(in), activity.BodyCap, nil)
		if json.Valid([]byte(in)) && len(in) <= activity.BodyCap && !json.Valid(out) {
			t.Fatalf("valid JSON became invalid: %q -> %q", in, out)
		}
	})
}

func TestBodies(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := t.Context()
		b := activity.NewBodies(s, t.TempDir(), slog.New(slog.DiscardHandler))
		var ids []id.Raw
		for i := range 500 {
			raw := id.NewRaw()
			ids = append(ids, raw)
			b.Add(fmt.Sprintf("org_%d", i%3), raw, fmt.Appendf(nil, `{"n":%d}`, i), bytes.Repeat([]byte("x"), 3000), nil)
			if i%100 == 99 {
				b.Flush(ctx)
			}
		}
		for i, raw := range ids {
			req, resp, ok, err := b.Body(ctx, fmt.Sprintf("org_%d", i%3), raw)
			if err != nil || !ok || string(req) != fmt.Sprintf(`{"n":%d}`, i) || len(resp) != 3000 {
				t.Fatalf("body %d: %q, %v, %v", i, req, ok, err)
			}
			if _, _, ok, _ := b.Body(ctx, fmt.Sprintf("org_%d", (i+1)%3), raw); ok {
				t.Fatal("another organization's body was found")
			}
		}
		if n := testkit.Must(b.Expire(ctx, time.Now().Add(time.Hour)))(t); n == 0 {
			t.Fatal("nothing expired")
		}
		if _, _, ok, _ := b.Body(ctx, "org_0", ids[0]); ok {
			t.Fatal("an expired body is still there")
		}
	})
}

func TestRecord(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		ctx := activity.WithOrigin(context.Background(), activity.Origin{RequestID: "req_1", IP: "192.0.2.1"})
		keeper := activity.NewCheckpoints(t.TempDir(), [32]byte{1}, time.Now)
		record := func(n int) {
			testkit.Must0(t, s.Tx(ctx, func(tx *db.Tx) error {
				for i := range n {
					if err := activity.Record(ctx, tx, nil, activity.Event{Tenant: "ten_a", Organization: "org_a", Action: "thing.create", TargetType: "thing", TargetID: fmt.Sprint(i), Details: map[string]any{"n": i}}); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		record(3)
		record(2)
		t.Run("a rolled back change leaves no event", func(t *testing.T) {
			_ = s.Tx(ctx, func(tx *db.Tx) error {
				testkit.Must0(t, activity.Record(ctx, tx, nil, activity.Event{Tenant: "ten_a", Action: "x.y", TargetType: "x", TargetID: "1"}))
				return db.ErrNone
			})
			v := testkit.Must(keeper.Verify(ctx, s, "ten_a"))(t)
			testkit.Equal(t, v, activity.Verdict{Tenant: "ten_a", Events: 5, OK: true})
		})
		for _, c := range []struct{ name, damage, mend string }{
			{"an edit", `UPDATE events SET actor_name = 'mallory' WHERE seq = 2`, `UPDATE events SET actor_name = '' WHERE seq = 2`},
			{"a deletion", `UPDATE events SET seq = 99 WHERE seq = 3`, `UPDATE events SET seq = 3 WHERE seq = 99`},
			{"a cut tail", `UPDATE events SET tenant_id = 'ten_b' WHERE seq = 5`, `UPDATE events SET tenant_id = 'ten_a' WHERE seq = 5`},
		} {
			t.Run(c.name+" is found", func(t *testing.T) {
				testkit.Must(db.Exec(ctx, s, c.damage))(t)
				if v := testkit.Must(keeper.Verify(ctx, s, "ten_a"))(t); v.OK {
					t.Fatal("not found")
				}
				testkit.Must(db.Exec(ctx, s, c.mend))(t)
				if v := testkit.Must(keeper.Verify(ctx, s, "ten_a"))(t); !v.OK {
					t.Fatalf("not mended: %+v", v)
				}
			})
		}
	})
}
