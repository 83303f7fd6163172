package upstream_test

import (
	"fmt"
	"net/http"
	"testing"

	"headgate/internal/mcp"
	"headgate/internal/testkit"
)

// batching is a server that agrees on a revision and says several things at
// once, as 2025-03-26 allows: in the answer to a call and on its own stream.
func batching(t *testing.T, revision string) *script {
	u := newScript(t)
	u.on("initialize", func(w http.ResponseWriter, _ *http.Request, m message) bool {
		w.Header().Set("Mcp-Session-Id", "one")
		respond(w, m.ID, `{"protocolVersion":"`+revision+`","capabilities":{"tools":{}},"serverInfo":{"name":"script","version":"1"}}`)
		return true
	})
	u.sessions["one"] = true
	u.on("tools/call", func(w http.ResponseWriter, _ *http.Request, m message) bool {
		note := `{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":9007199254740993}}`
		answer := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"fine"}]}}`, m.ID)
		switch m.Params.Name {
		case "json":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, "[%s]", answer)
		case "nothing":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, "[%s]", note)
		case "others":
			events(w)(`[` + answer + `,{"jsonrpc":"2.0","id":"x","result":{}}]`)
		case "twice":
			events(w)(`[` + answer + `,` + answer + `]`)
		default:
			send := events(w)
			send(`[` + note + `,` + note + `]`)
			send(`[` + answer + `, ` + note + `]`)
		}
		return true
	})
	u.on("GET", func(w http.ResponseWriter, r *http.Request, _ message) bool {
		events(w)(`[{"jsonrpc":"2.0","method":"notifications/tools/list_changed"},{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}]`)
		<-r.Context().Done()
		return true
	})
	return u
}

// TestServersBatches shows that what a server of 2025-03-26 says in batches is
// heard message by message, and that no other revision's is.
func TestServersBatches(t *testing.T) {
	ask := func(t *testing.T, revision, tool string) (said int, answer string, err error) {
		t.Helper()
		h, s := newHub(t), serverAt(batching(t, revision).URL)
		a, err := h.Exchange(t.Context(), call(s, mcp.Revision20250326, "41", tool, `{}`), sinkFunc(func(m []byte, e *mcp.Envelope) error {
			if v, ok := mcp.Find(m, e.Params, "data"); e.Method != mcp.NotifyMessage || !ok || string(v.Of(m)) != "9007199254740993" {
				t.Errorf("heard %s", m)
			}
			said++
			return nil
		}))
		if err != nil {
			return said, "", err
		}
		testkit.Equal(t, string(a.Envelope.ID.Of(a.Body)), "41")
		return said, text(t, a), nil
	}
	t.Run("in a stream, the answer last whatever comes beside it", func(t *testing.T) {
		said, answer, err := ask(t, "2025-03-26", "stream")
		testkit.Must0(t, err)
		testkit.Equal(t, answer, "fine")
		testkit.Equal(t, said, 3)
	})
	t.Run("as a whole body", func(t *testing.T) {
		_, answer, err := ask(t, "2025-03-26", "json")
		testkit.Must0(t, err)
		testkit.Equal(t, answer, "fine")
	})
	for _, tool := range []string{"nothing", "others", "twice"} {
		t.Run("one that holds "+tool+" is nonsense", func(t *testing.T) {
			_, _, err := ask(t, "2025-03-26", tool)
			testkit.Fault(t, err, "upstream.nonsense")
		})
	}
	for _, tool := range []string{"stream", "json"} {
		t.Run("in another revision it is nonsense, "+tool, func(t *testing.T) {
			_, _, err := ask(t, "2025-06-18", tool)
			testkit.Fault(t, err, "upstream.nonsense")
		})
	}
	t.Run("on the session's own stream", func(t *testing.T) {
		h, s := newHub(t), serverAt(batching(t, "2025-03-26").URL)
		var l heard
		stop := testkit.Must(h.Watch(t.Context(), watching(s, mcp.Revision20250326, "one"), nil, l.tell))(t)
		defer stop()
		eventually(t, "both are heard", func() bool { return l.count(mcp.NotifyToolsChanged) == 1 && l.count(mcp.NotifyMessage) == 1 })
	})
}
