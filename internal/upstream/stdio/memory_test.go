//go:build linux && (amd64 || arm64)

package stdio_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
	"headgate/internal/upstream/stdio"
)

// TestFloods: a child that says what nobody asked for is slowed down, and what
// nobody reads is not kept.
func TestFloods(t *testing.T) {
	h := newHouse(t)
	s, other := server("legacy"), server("legacy")
	h.say(other, "echo", `{}`)
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = h.hub.Exchange(ctx, request(s, mcp.LatestLegacy, "1", "flood", `{}`), nil)
	}()
	h.logged(s, "flooding")
	for range 20 {
		began := time.Now()
		if got := h.say(other, "echo", `{"text":"x"}`); got != "x" || time.Since(began) > 2*time.Second {
			t.Fatalf("the neighbour waited %s for %q", time.Since(began), got)
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapInuse > 300<<20 {
		t.Errorf("%d MiB in use", m.HeapInuse>>20)
	}
	leave()
	<-done
}

func TestMemory(t *testing.T) {
	h := newHouse(t)
	s := server("legacy")
	r := request(s, mcp.LatestLegacy, "1", "echo", `{}`)
	r.Method, r.Name, r.Body = mcp.MethodToolsList, "", []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
	want := h.text(r)
	file := filepath.Join(h.dir, s.Key(), ".shared.json")
	eventually(t, "kept", func() bool { _, err := os.Stat(file); return err == nil })
	// again is another Headgate over the same directory.
	again := func(t *testing.T) *house {
		other := &house{t: t, dir: h.dir}
		other.host = stdio.NewHost(stdio.Options{Launcher: launcher(t), Version: "test", Spec: other.spec})
		other.hub = upstream.NewHub(upstream.Options{Binder: binder{}, Channels: map[catalog.Transport]upstream.Channel{catalog.Stdio: other.host}})
		t.Cleanup(func() { other.hub.Close(context.Background()); other.host.Close(context.Background()) })
		return other
	}
	h.host.Close(t.Context())
	t.Run("after a start, lists wake nobody", func(t *testing.T) {
		h := again(t)
		if got := h.text(r); got != want || h.status(s).State != stdio.Asleep || h.status(s).Starts != 0 {
			t.Errorf("got %s, %+v", got, h.status(s))
		}
		if got := h.say(s, "echo", `{"text":"x"}`); got != "x" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("another version's or junk counts as nothing", func(t *testing.T) {
		good := testkit.Must(os.ReadFile(file))(t)
		for _, text := range []string{strings.Replace(string(good), `"key":"`, `"key":"x`, 1), "junk", `{"facts":{"a":1,"a":2}}`, strings.Replace(string(good), "2025-11-25", "2026-07-28", 1)} {
			testkit.Must0(t, os.WriteFile(file, []byte(text), 0o600))
			h := again(t)
			if got := h.text(r); got != want || h.status(s).Starts != 1 {
				t.Errorf("got %s, %+v", got, h.status(s))
			}
			h.host.Close(t.Context())
		}
	})
	t.Run("a changed list is not kept", func(t *testing.T) {
		h := again(t)
		h.say(s, "change", `{}`)
		h.host.Close(t.Context())
		h = again(t)
		if h.text(r); h.status(s).Starts != 1 {
			t.Errorf("%+v", h.status(s))
		}
	})
	t.Run("the child does not see it", func(t *testing.T) {
		if got := again(t).say(s, "see", fmt.Sprintf(`{"path":%q}`, file)); got != "nothing" {
			t.Errorf("got %s", got)
		}
	})
}
