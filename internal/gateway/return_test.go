package gateway_test

import (
	"strings"
	"testing"

	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

// TestReturn shows what a session's stream does for a client that comes back.
func TestReturn(t *testing.T) {
	begin := func(t *testing.T) (*house, func()) {
		t.Helper()
		h := newHouse(t)
		up := h.raw("raw", rawmcp.Options{Era: rawmcp.Legacy})
		return h, func() {
			t.Helper()
			eventually(t, "the server is listened to", func() bool { return up.Notify("notifications/tools/list_changed") > 0 })
		}
	}
	t.Run("one that has heard nothing yet has an id to come back with", func(t *testing.T) {
		h, say := begin(t)
		s := h.initialize("/mcp/raw", "2025-11-25", `{}`)
		e := s.listen()
		prime := testkit.Must(e.next())(t)
		if prime != "" || !strings.HasSuffix(e.id, "-0") {
			t.Fatalf("%q under %q", prime, e.id)
		}
		e.resp.Body.Close()
		say()
		back := s.listen("Last-Event-ID: " + e.id)
		testkit.Equal(t, back.want().Method, "notifications/tools/list_changed")
	})
	t.Run("the connection before ends when another one goes on", func(t *testing.T) {
		h, say := begin(t)
		s := h.initialize("/mcp/raw", "2025-06-18", `{}`)
		first := s.listen()
		say()
		testkit.Equal(t, first.want().Method, "notifications/tools/list_changed")
		second := s.listen("Last-Event-ID: " + first.id)
		first.ended()
		say()
		testkit.Equal(t, second.want().Method, "notifications/tools/list_changed")
		if first.id == second.id {
			t.Errorf("%s came twice", first.id)
		}
	})
	t.Run("an id of another session's stream opens a stream of its own", func(t *testing.T) {
		h, say := begin(t)
		one, two := h.initialize("/mcp/raw", "2025-06-18", `{}`), h.initialize("/mcp/raw", "2025-06-18", `{}`)
		e := one.listen()
		say()
		e.want()
		other := two.listen("Last-Event-ID: " + e.id)
		eventually(t, "both listen", func() bool { return h.hub.Stats().Watchers == 2 })
		say()
		testkit.Equal(t, other.want().Method, "notifications/tools/list_changed")
		if cut := strings.LastIndexByte(e.id, '-'); strings.HasPrefix(other.id, e.id[:cut]) {
			t.Errorf("%s goes on with %s", other.id, e.id)
		}
		testkit.Equal(t, e.want().Method, "notifications/tools/list_changed") // and the other's goes on
	})
	t.Run("one that does not come back is not waited for long", func(t *testing.T) {
		h, say := begin(t)
		e := h.initialize("/mcp/raw", "2025-06-18", `{}`).listen()
		say()
		e.want()
		e.resp.Body.Close()
		eventually(t, "the server is left alone", func() bool { return h.hub.Stats().Streams == 0 })
	})
}
