package seal_test

import (
	"bytes"
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
	if err != nil || again.Verify(k.Check()) != nil {
		t.Fatal("the file does not hold the keys it was made with")
	}
	if keys(t).Verify(k.Check()) == nil {
		t.Fatal("foreign keys passed the check")
	}
	for _, bad := range []string{"", "{}", `{"version":1,"master":[{"id":"m","key":"c2hvcnQ="}],"pepper":[]}`,
		`{"version":1,"master":[{"id":"m","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}],"pepper":[{"id":"p","key":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}]}`} {
		if _, err := seal.Parse([]byte(bad)); err == nil {
			t.Fatalf("accepted %q", bad)
		}
	}
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
