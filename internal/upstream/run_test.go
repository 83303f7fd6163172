package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
)

func TestReply(t *testing.T) {
	u := newScript(t)
	answered := make(chan string, 1)
	u.on("", func(w http.ResponseWriter, _ *http.Request, m message) bool {
		answered <- string(m.raw)
		w.WriteHeader(http.StatusAccepted)
		return true
	})
	u.on("tools/call", func(w http.ResponseWriter, _ *http.Request, m message) bool {
		send := events(w)
		send(`{"jsonrpc":"2.0","id":"q1","method":"elicitation/create","params":{"message":"?"}}`)
		select {
		case got := <-answered:
			send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":%q}]}}`, m.ID, got))
		case <-time.After(5 * time.Second):
		}
		return true
	})
	h, s := newHub(t), serverAt(u.URL)
	t.Run("a server's request during a call reaches the caller, and the answer the server", func(t *testing.T) {
		r := call(s, mcp.LatestLegacy, "1", "ask", `{}`)
		r.Affinity = "one"
		reply := `{"jsonrpc":"2.0","id":"q1","result":{"action":"accept"}}`
		a := testkit.Must(h.Exchange(t.Context(), r, sinkFunc(func(m []byte, e *mcp.Envelope) error {
			if e.Kind != mcp.Request || e.Method != mcp.MethodElicitCreate {
				t.Errorf("got %s", m)
			}
			return h.Reply(t.Context(), r, []byte(reply))
		})))(t)
		testkit.Equal(t, text(t, a), reply)
	})
	t.Run("without a session there is nowhere to reply", func(t *testing.T) {
		r := call(s, mcp.LatestLegacy, "1", "ask", `{}`)
		r.Affinity = "unknown"
		testkit.Fault(t, h.Reply(t.Context(), r, []byte(`{}`)), "upstream.no_session")
	})
	t.Run("where nobody can answer, the server is told so", func(t *testing.T) {
		r := call(s, mcp.LatestLegacy, "1", "ask", `{}`)
		r.Affinity = "two"
		a := testkit.Must(h.Exchange(t.Context(), r, nil))(t)
		if got := text(t, a); !strings.Contains(got, `"id":"q1"`) || !strings.Contains(got, `-32601`) {
			t.Errorf("got %s", got)
		}
	})
}

func TestCancel(t *testing.T) {
	t.Run("a legacy server is told, by the id it knows", func(t *testing.T) {
		u := newScript(t)
		var id string
		started, told := make(chan struct{}), make(chan string, 1)
		u.on("tools/call", func(w http.ResponseWriter, r *http.Request, m message) bool {
			id = string(m.ID)
			close(started)
			<-r.Context().Done()
			return true
		})
		u.on("notifications/cancelled", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			told <- string(m.Params.RequestID)
			w.WriteHeader(202)
			return true
		})
		h, s := newHub(t), serverAt(u.URL)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-started; cancel() }()
		_, err := h.Exchange(ctx, call(s, mcp.LatestLegacy, "1", "slow", `{}`), nil)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		testkit.Equal(t, <-told, id)
	})
	t.Run("a modern server loses its stream within a second", func(t *testing.T) {
		gone, started := make(chan struct{}), make(chan struct{})
		u := newScript(t).on("tools/call", func(w http.ResponseWriter, r *http.Request, _ message) bool {
			events(w)(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}`)
			close(started)
			<-r.Context().Done()
			close(gone)
			return true
		})
		h, s := newHub(t), modernAt(u.URL)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-started; cancel() }()
		_, err := h.Exchange(ctx, call(s, mcp.LatestModern, "1", "slow", `{}`), sinkFunc(func([]byte, *mcp.Envelope) error { return nil }))
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		select {
		case <-gone:
		case <-time.After(time.Second):
			t.Error("the server still works")
		}
		testkit.Equal(t, u.count("notifications/cancelled"), 0)
	})
	t.Run("an error of the sink ends the exchange", func(t *testing.T) {
		u := newScript(t).on("tools/call", func(w http.ResponseWriter, r *http.Request, _ message) bool {
			events(w)(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}`)
			<-r.Context().Done()
			return true
		})
		h, s := newHub(t), modernAt(u.URL)
		full := errors.New("full")
		_, err := h.Exchange(t.Context(), call(s, mcp.LatestModern, "1", "slow", `{}`), sinkFunc(func([]byte, *mcp.Envelope) error { return full }))
		if !errors.Is(err, full) {
			t.Errorf("got %v", err)
		}
	})
}

func TestTimeouts(t *testing.T) {
	u := newScript(t)
	u.on("tools/call", func(w http.ResponseWriter, r *http.Request, m message) bool {
		send := events(w)
		for i := range 100 {
			if m.Params.Name == "talks" {
				send(fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":%d}}`, i))
			}
			select {
			case <-r.Context().Done():
				return true
			case <-time.After(20 * time.Millisecond):
			}
			if m.Params.Name == "talks" && m.Params.Arguments["stop"] == float64(i) {
				break
			}
		}
		send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"done"}]}}`, m.ID))
		return true
	})
	h, s := newHub(t, func(o *upstream.Options) { o.Stretch = 3 }), modernAt(u.URL)
	run := func(tool, args string) (string, time.Duration, error) {
		r := call(s, mcp.LatestModern, "1", tool, args)
		r.Body = []byte(strings.Replace(string(r.Body), `"_meta":{`, `"_meta":{"progressToken":1,`, 1))
		r.Progress = true
		r.Timeout = 400 * time.Millisecond
		start := time.Now()
		a, err := h.Exchange(t.Context(), r, sinkFunc(func([]byte, *mcp.Envelope) error { return nil }))
		if err != nil {
			return "", time.Since(start), err
		}
		return text(t, a), time.Since(start), nil
	}
	t.Run("silence ends at the timeout", func(t *testing.T) {
		_, took, err := run("silent", `{}`)
		testkit.Fault(t, err, "upstream.timeout")
		if took > time.Second {
			t.Errorf("took %s", took)
		}
		if errors.Is(err, context.Canceled) {
			t.Error("a timeout looks like the caller's cancellation")
		}
	})
	t.Run("progress extends it", func(t *testing.T) {
		got, took, err := run("talks", `{"stop":30}`)
		testkit.Must0(t, err)
		if got != "done" || took < 500*time.Millisecond {
			t.Errorf("%q after %s", got, took)
		}
	})
	t.Run("but not for ever", func(t *testing.T) {
		_, took, err := run("talks", `{"stop":1000}`)
		testkit.Fault(t, err, "upstream.timeout")
		if took > 3*time.Second {
			t.Errorf("took %s", took)
		}
	})
}
