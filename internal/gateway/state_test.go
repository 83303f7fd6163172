package gateway_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
)

const asking = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"elicitation":{}}}`

// parkOne makes a call that a legacy server interrupts with a question, and
// returns its requestState and what the server has got.
func (h *house) parkOne(t *testing.T, u *script, arguments string, headers ...string) (state string, in *incoming) {
	t.Helper()
	answer := make(chan reply, 1)
	go func() {
		answer <- h.modern("/mcp/asks", "tools/call", `"name":"x","arguments":`+arguments+`,`+asking, headers...)
	}()
	in = u.gets()
	in.sends(t, `{"jsonrpc":"2.0","id":"e","method":"elicitation/create","params":{"message":"?","requestedSchema":{}}}`, 0)
	var got struct {
		ResultType   string
		RequestState string
	}
	decode(t, (<-answer).result(t), &got)
	testkit.Equal(t, got.ResultType, mcp.ResultInputRequired)
	return got.RequestState, in
}

func (h *house) retry(state, name, arguments, more string, headers ...string) reply {
	text, _ := json.Marshal(state)
	return h.modern("/mcp/asks", "tools/call", fmt.Sprintf(`"name":%q,"arguments":%s,"inputResponses":{"q1":{"action":"decline"}},"requestState":%s,%s%s`, name, arguments, text, more, asking), headers...)
}

func TestRequestState(t *testing.T) {
	h := newHouse(t)
	u := newScript(t, false)
	h.serve("asks", u.URL)
	h.serve("other", u.URL)
	bad := func(t *testing.T, r reply) {
		t.Helper()
		if r.status != 400 || r.code(t) != mcp.CodeInvalidParams {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	state, in := h.parkOne(t, u, `{"a":1}`)
	t.Run("a changed one is refused, whichever byte it is", func(t *testing.T) {
		for i := range len(state) {
			b := []byte(state)
			b[i] = map[bool]byte{true: 'B', false: 'A'}[b[i] == 'A']
			bad(t, h.retry(string(b), "x", `{"a":1}`, ""))
		}
		bad(t, h.retry("", "x", `{"a":1}`, ""))
		bad(t, h.retry(strings.Repeat("A", 5000), "x", `{"a":1}`, ""))
	})
	t.Run("so is another principal's, another tool's, other arguments' and another server's", func(t *testing.T) {
		bad(t, h.retry(state, "x", `{"a":1}`, "", "Authorization: Bearer "+h.mint(h.owner, access.Every)))
		bad(t, h.retry(state, "y", `{"a":1}`, ""))
		bad(t, h.retry(state, "x", `{"a":2}`, ""))
		text, _ := json.Marshal(state)
		bad(t, h.modern("/mcp/other", "tools/call", `"name":"x","arguments":{"a":1},"inputResponses":{},"requestState":`+string(text)+`,`+asking))
		bad(t, h.modern("/mcp/asks", "prompts/get", `"name":"x","arguments":{"a":1},"inputResponses":{},"requestState":`+string(text)+`,`+asking))
	})
	t.Run("the right request resumes the call, once", func(t *testing.T) {
		var wg sync.WaitGroup
		answers := make(chan reply, 2)
		for range 2 {
			wg.Go(func() { answers <- h.retry(state, "x", `{"a":1}`, "") })
		}
		testkit.Equal(t, u.gets().body, `{"jsonrpc":"2.0","id":"e","result":{"action":"decline"}}`)
		bad(t, <-answers)
		var id struct{ ID json.RawMessage }
		decode(t, in.body, &id)
		in.sends(t, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[]}}`, id.ID), 200)
		(<-answers).result(t)
		wg.Wait()
		bad(t, h.retry(state, "x", `{"a":1}`, ""))
	})
	t.Run("one that is too old is refused", func(t *testing.T) {
		state, _ := h.parkOne(t, u, `{}`)
		h.ahead.Add(int64(11 * time.Minute))
		bad(t, h.retry(state, "x", `{}`, ""))
		h.ahead.Add(-int64(11 * time.Minute))
	})
	t.Run("nobody parks calls without end", func(t *testing.T) {
		key := "Authorization: Bearer " + h.mint(h.owner, access.Every)
		for range 64 {
			h.parkOne(t, u, `{}`, key)
		}
		answer := make(chan reply, 1)
		go func() { answer <- h.modern("/mcp/asks", "tools/call", `"name":"x","arguments":{},`+asking, key) }()
		u.gets().sends(t, `{"jsonrpc":"2.0","id":"e","method":"elicitation/create","params":{}}`, 0)
		if r := <-answer; r.status != 429 || r.header.Get("Retry-After") == "" {
			t.Errorf("%d %s", r.status, r.body)
		}
	})
	if h.balance() != 1_000_000-1 {
		t.Errorf("balance %d: one call was answered", h.balance())
	}
}
