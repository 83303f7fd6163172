package gateway

import (
	"net/http"

	"headgate/internal/mcp"
)

// batch serves several messages in one body, which revision 2025-03-26 alone
// has. Each is served as if it had come alone, one after the other, and their
// answers are put together; events in between are not given, since a batch's
// answer is one JSON array.
func (g *Gateway) batch(x *exchange) {
	x.e = mcp.Envelope{}
	sid := x.r.Header.Get(mcp.HeaderSessionID)
	s, err := g.sessions.find(x.by, sid)
	switch {
	case sid == "":
		x.fail(mcp.ErrBatch)
		return
	case err != nil:
		x.fail(err)
		return
	case s.revision != mcp.Revision20250326:
		x.fail(mcp.ErrBatch)
		return
	}
	spans, err := mcp.SplitBatch(x.body, mcp.Limits{})
	if err != nil {
		x.fail(err)
		return
	}
	out := []byte{'['}
	for _, span := range spans {
		one := &capture{header: http.Header{}}
		y := g.begin(one, x.r, x.by, x.ep)
		y.noEvents = true
		y.body = append(y.body[:0], span.Of(x.body)...)
		y.era, y.rev, y.s = mcp.Legacy, s.revision, s
		if err := mcp.Scan(y.body, &y.e, mcp.Limits{}); err != nil {
			y.e = mcp.Envelope{}
			y.fail(err)
		} else if y.e.Method == mcp.MethodInitialize {
			y.fail(mcp.ErrNotMessage.Saying("initialize may not be part of a batch."))
		} else {
			g.dispatch(y)
		}
		y.end()
		if len(one.body) == 0 {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(out, one.body...)
	}
	if len(out) == 1 {
		x.w.WriteHeader(http.StatusAccepted)
		return
	}
	writeJSON(x.w, http.StatusOK, append(out, ']'))
}

// capture keeps an answer instead of sending it.
type capture struct {
	header http.Header
	body   []byte
}

func (c *capture) Header() http.Header { return c.header }
func (c *capture) WriteHeader(int)     {}
func (c *capture) Write(b []byte) (int, error) {
	c.body = append(c.body, b...)
	return len(b), nil
}
