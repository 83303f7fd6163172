package upstream_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
	"headgate/internal/upstream"
)

func TestForeignEra(t *testing.T) {
	t.Run("a server is never sent a call of an era it does not speak", func(t *testing.T) {
		for revision, era := range map[mcp.Revision]rawmcp.Era{mcp.LatestModern: rawmcp.Legacy, mcp.LatestLegacy: rawmcp.Modern} {
			u := testkit.Must(rawmcp.Listen(rawmcp.Options{Era: era}))(t)
			defer u.Close()
			h, s := newHub(t), serverAt(u.URL())
			for range 2 {
				_, err := h.Exchange(t.Context(), call(s, revision, "1", "echo", `{}`), nil)
				testkit.Fault(t, err, "upstream.era")
			}
			if f := testkit.Must(h.Eras(t.Context(), s, ann, revision.Era()))(t); f.Era == revision.Era() || u.Calls() != 0 {
				t.Errorf("it speaks %s and got %d calls", f.Era, u.Calls())
			}
			if last, _ := h.Health(s); last.Code != "" {
				t.Errorf("its health is %q", last.Code)
			}
		}
	})
}

func TestLevel(t *testing.T) {
	u := newScript(t)
	levels := make(chan string, 4)
	u.on("initialize", func(w http.ResponseWriter, _ *http.Request, m message) bool {
		u.mu.Lock()
		u.next++
		id := fmt.Sprint("s", u.next)
		u.sessions[id] = true
		u.mu.Unlock()
		w.Header().Set("Mcp-Session-Id", id)
		respond(w, m.ID, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{},"logging":{}},"serverInfo":{"name":"s","version":"1"}}`)
		return true
	})
	u.on("logging/setLevel", func(w http.ResponseWriter, _ *http.Request, m message) bool {
		levels <- string(m.raw)
		respond(w, m.ID, `{}`)
		return true
	})
	h, s := newHub(t), serverAt(u.URL)
	r := call(s, mcp.LatestLegacy, "1", "echo", `{}`)
	r.Client.Level = "debug"
	t.Run("a session opened for a client that chose a level is told it", func(t *testing.T) {
		a := testkit.Must(h.Exchange(t.Context(), r, nil))(t)
		a.Release()
		testkit.Equal(t, <-levels, `{"jsonrpc":"2.0","id":"headgate-level","method":"logging/setLevel","params":{"level":"debug"}}`)
	})
	t.Run("also when the server had lost it", func(t *testing.T) {
		u.forgetSessions()
		a := testkit.Must(h.Exchange(t.Context(), r, nil))(t)
		a.Release()
		<-levels
	})
	t.Run("and clients without one do not share it", func(t *testing.T) {
		a := testkit.Must(h.Exchange(t.Context(), call(s, mcp.LatestLegacy, "2", "echo", `{}`), nil))(t)
		a.Release()
		if len(levels) != 0 || u.live() != 2 {
			t.Errorf("%d levels, %d sessions", len(levels), u.live())
		}
	})
}

func TestPeopleAreSlow(t *testing.T) {
	u := newScript(t).on("tools/call", func(w http.ResponseWriter, r *http.Request, m message) bool {
		send := events(w)
		send(`{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{}}`)
		select {
		case <-time.After(300 * time.Millisecond):
		case <-r.Context().Done():
		}
		send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"done"}]}}`, m.ID))
		return true
	})
	h, s := newHub(t), serverAt(u.URL)
	r := call(s, mcp.LatestLegacy, "1", "ask", `{}`)
	r.Client.Capabilities, r.Timeout = []byte(`{"elicitation":{}}`), 100*time.Millisecond
	t.Run("a question to a person stops the clock", func(t *testing.T) {
		a, err := h.Exchange(t.Context(), r, sinkFunc(func([]byte, *mcp.Envelope) error { return nil }))
		testkit.Must0(t, err)
		testkit.Equal(t, text(t, a), "done")
	})
}

func TestKept(t *testing.T) {
	u := testkit.Must(rawmcp.Listen(rawmcp.Options{}))(t)
	defer u.Close()
	h, s := newHub(t), serverAt(u.URL())
	if h.Kept(t.Context(), s, ann, upstream.Tools) != nil {
		t.Fatal("a list out of nothing")
	}
	l := testkit.Must(h.List(t.Context(), s, ann, upstream.Tools))(t)
	if h.Kept(t.Context(), s, ann, upstream.Tools) != l {
		t.Fatal("not the list in memory")
	}
}

func TestWatchLists(t *testing.T) {
	u := testkit.Must(rawmcp.Listen(rawmcp.Options{Era: rawmcp.Legacy}))(t)
	defer u.Close()
	h, s := newHub(t), serverAt(u.URL())
	var one, two heard
	defer testkit.Must(h.WatchLists(t.Context(), s, ann, one.tell))(t)()
	defer testkit.Must(h.WatchLists(t.Context(), s, ann, two.tell))(t)()
	if st := h.Stats(); st.Streams != 1 || st.Sessions != 1 {
		t.Fatalf("%+v: all watchers share what the hub has", st)
	}
	eventually(t, "the stream is open", func() bool { return u.Notify(mcp.NotifyMessage) == 1 })
	u.Notify(mcp.NotifyToolsChanged)
	eventually(t, "both are told", func() bool { return one.count(mcp.NotifyToolsChanged) == 1 && two.count(mcp.NotifyToolsChanged) == 1 })
	if one.count(mcp.NotifyMessage) != 0 {
		t.Error("more than changes of lists")
	}
}
