package rest

import (
	"context"
	"net/http"

	"headgate/internal/access"
	"headgate/internal/server/request"
)

// state is what a door knows of the request it serves.
type state struct {
	door      *Door
	op        *operation
	header    http.Header // of the response
	principal *access.Principal
	info      *request.Info
	metered   bool // counted against a rate
	ran       bool // the handler was called
	final     bool // its failure had an effect
	status    int  // of success, where the handler has chosen; see SetStatus
}

type stateKey struct{}

func stateOf(ctx context.Context) *state {
	st, _ := ctx.Value(stateKey{}).(*state)
	return st
}

var anonymous = &access.Principal{Kind: access.Anonymous}

// Principal returns who calls. On a public operation that is an anonymous
// principal, which may do nothing; it is never nil.
func Principal(ctx context.Context) *access.Principal {
	if st := stateOf(ctx); st != nil && st.principal != nil {
		return st.principal
	}
	return anonymous
}

// Final says that what the handler is about to return is the end of the matter,
// even a failure with 500 and above: a repeat with the same Idempotency-Key gets
// it again, because the work was done (and paid for).
func Final(ctx context.Context) {
	if st := stateOf(ctx); st != nil {
		st.final = true
	}
}

// RequestID returns the id the client sees in X-Request-Id.
func RequestID(ctx context.Context) string { return request.ID(ctx) }

// CurrentOp returns the operation being served; the zero Op outside a door.
func CurrentOp(ctx context.Context) Op {
	if st := stateOf(ctx); st != nil && st.op != nil {
		return st.op.Op
	}
	return Op{}
}

// SetStatus gives the answer another status of success than the operation's:
// 207 where some of what was asked for failed.
func SetStatus(ctx context.Context, status int) {
	if st := stateOf(ctx); st != nil {
		st.status = status
	}
}

// SetHeader sets a header of the answer, such as Location.
func SetHeader(ctx context.Context, name, value string) {
	if st := stateOf(ctx); st != nil {
		st.header.Set(name, value)
	}
}

// SetCookie adds a cookie to the answer.
func SetCookie(ctx context.Context, c *http.Cookie) {
	if st := stateOf(ctx); st != nil {
		st.header.Add("Set-Cookie", c.String())
	}
}
