//go:build linux && (amd64 || arm64)

package stdio_test

import (
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
)

// TestBatches shows that what a program of 2025-03-26 says in batches is heard
// message by message, and that no other revision's is.
func TestBatches(t *testing.T) {
	h := newHouse(t)
	s, strict := server("batches 2025-03-26"), server("batches 2025-11-25")
	says := func(id, text string) *upstream.Request {
		quoted := testkit.Must(json.Marshal(text))(t)
		r := request(s, mcp.LatestLegacy, id, "batch", `{"batch":`+string(quoted)+`},"_meta":{"progressToken":"p"}`)
		r.Affinity, r.Client, r.Progress = "one", client, true
		return r
	}
	const (
		fine     = `{"jsonrpc":"2.0","id":$id,"result":{"content":[{"type":"text","text":"fine"}]}}`
		progress = `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":$token,"progress":1}}`
		ask      = `{"jsonrpc":"2.0","id":"q","method":"elicitation/create","params":{"message":"who?","requestedSchema":{"type":"object","properties":{}}}}`
	)
	t.Run("notifications and the answer, in one line", func(t *testing.T) {
		events := &sink{}
		a := testkit.Must(h.hub.Exchange(t.Context(), says("41", "["+progress+", "+fine+"]"), events))(t)
		defer a.Release()
		testkit.Equal(t, textOf(t, a), "fine")
		testkit.Equal(t, events.all(), []string{`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p","progress":1}}`})
	})
	t.Run("the answers to several callers, each its own", func(t *testing.T) {
		var wg sync.WaitGroup
		got := make([]string, 3)
		for i := range 2 {
			wg.Go(func() { got[i] = h.text(request(s, mcp.LatestLegacy, "1", "hold", `{}`)) })
		}
		h.loggedTimes(s, "held", 2)
		got[2] = h.text(request(s, mcp.LatestLegacy, "1", "batch-held", `{}`))
		wg.Wait()
		seen := map[string]bool{}
		for _, text := range got {
			if seen[text] || !strings.HasPrefix(text, "answer to ") {
				t.Errorf("got %q", got)
			}
			seen[text] = true
		}
	})
	t.Run("a question beside a ping, which is answered at once", func(t *testing.T) {
		r := says("42", `[{"jsonrpc":"2.0","id":"alive","method":"ping"},`+ask+`,`+fine+`]`)
		events := h.answering(r, `{"action":"decline"}`)
		a := testkit.Must(h.hub.Exchange(t.Context(), r, events))(t)
		a.Release()
		h.logged(s, `answer "alive" {} `)
		h.logged(s, `answer "q" {"action":"decline"} `)
		testkit.Equal(t, len(events.all()), 1)
	})
	t.Run("what is no message in it costs the others nothing", func(t *testing.T) {
		events := &sink{}
		a := testkit.Must(h.hub.Exchange(t.Context(), says("43", `[7,[`+fine+`],{"jsonrpc":"2.0"},`+progress+`,`+fine+`]`), events))(t)
		defer a.Release()
		testkit.Equal(t, textOf(t, a), "fine")
		testkit.Equal(t, len(events.all()), 1)
	})
	t.Run("no batch, or an endless one, is a line that is no message", func(t *testing.T) {
		for _, text := range []string{`[]`, `[` + strings.Repeat(progress+`,`, mcp.MaxBatch) + progress + `]`, `[` + fine} {
			events := &sink{}
			r := says("44", text+"\n"+fine)
			a := testkit.Must(h.hub.Exchange(t.Context(), r, events))(t)
			testkit.Equal(t, textOf(t, a), "fine")
			testkit.Equal(t, len(events.all()), 0)
			a.Release()
		}
	})
	t.Run("of another revision it is a failed answer, at once, and nothing else in it is heard", func(t *testing.T) {
		events := &sink{}
		r := says("45", "["+progress+","+ask+","+fine+"]")
		r.Server = strict
		_, err := h.hub.Exchange(t.Context(), r, events)
		testkit.Fault(t, err, "upstream.failed")
		testkit.Equal(t, len(events.all()), 0)
		testkit.Equal(t, h.say(strict, "echo", `{"text":"still here"}`), "still here")
	})
	t.Run("a request in such a batch is not taken for the answer to a call that has its id", func(t *testing.T) {
		r := says("46", `[{"jsonrpc":"2.0","id":$id,"method":"ping"}]`+"\n"+fine)
		r.Server = strict
		testkit.Equal(t, h.text(r), "fine")
	})
	t.Run("and no program had to be started again", func(t *testing.T) {
		testkit.Equal(t, []int{h.status(s).Starts, h.status(strict).Starts}, []int{1, 1})
	})
}
