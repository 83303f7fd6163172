package gateway

import (
	"net/http"
	"slices"
	"sync"

	"headgate/internal/fault"
	"headgate/internal/mcp"
)

// batch serves several messages in one body, which revision 2025-03-26 alone
// has. Each is served beside the others; what comes before their answers goes
// out as it comes, and the answers together at the end.
func (g *Gateway) batch(x *exchange) {
	spans, err := x.split()
	if err != nil {
		x.e = mcp.Envelope{}
		x.fail(err)
		return
	}
	answers := make([][]byte, len(spans))
	var wg sync.WaitGroup
	for i, span := range spans {
		wg.Go(func() { g.entry(x, span, &answers[i]) })
	}
	wg.Wait()
	answers = slices.DeleteFunc(answers, func(a []byte) bool { return a == nil })
	if len(answers) == 0 {
		x.to.accept()
		return
	}
	out := []byte{'['}
	for i, a := range answers {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, a...)
	}
	x.to.answer(http.StatusOK, append(out, ']'))
}

// split finds the messages of a batch, and the session that must be one of
// the revision that has batches.
func (x *exchange) split() ([]mcp.Span, error) {
	sid := x.r.Header.Get(mcp.HeaderSessionID)
	if sid == "" {
		return nil, mcp.ErrBatch
	}
	s, err := x.g.sessions.find(x.r.Context(), x.ep.by, sid)
	if err != nil {
		return nil, err
	}
	if s.revision != mcp.Revision20250326 {
		return nil, mcp.ErrBatch
	}
	x.in(s)
	return mcp.SplitBatch(x.body, mcp.Limits{})
}

// entry serves one message of a batch.
func (g *Gateway) entry(all *exchange, span mcp.Span, answer *[]byte) {
	x := g.begin(all.web.w, detached(all.r), all.ep)
	defer x.end()
	x.to = entry{&all.web, answer}
	x.body = append(x.body[:0], span.Of(all.body)...)
	x.s, x.rev = all.s, all.rev
	err := mcp.Scan(x.body, &x.e, mcp.Limits{})
	switch {
	case err != nil:
		x.e = mcp.Envelope{ID: x.e.ID}
		x.fail(err)
	case x.e.Method == mcp.MethodInitialize:
		x.fail(mcp.ErrNotMessage.Saying("initialize may not be part of a batch."))
	default:
		g.dispatch(x)
	}
}

// entry is the outlet of one message of a batch.
type entry struct {
	*web // of the whole
	own  *[]byte
}

func (e entry) answer(_ int, message []byte)                 { *e.own = slices.Clone(message) }
func (e entry) refuse(_ int, message []byte, _ *fault.Error) { *e.own = slices.Clone(message) }
func (e entry) accept()                                      {}
