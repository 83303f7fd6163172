package fault

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"
)

// Kind classifies a fault. The set is closed; see design.md section 6.
type Kind uint8

// The kinds, each with the HTTP status it has on the Platform API.
const (
	Internal      Kind = iota // 500: ours, a bug
	BadCredential             // 401
	UpstreamAuth              // 401: the upstream wants OAuth
	Forbidden                 // 403
	NotFound                  // 404: not there, or not yours
	Invalid                   // 400
	Unconfigured              // 400
	Conflict                  // 409
	Gone                      // 410
	Unpaid                    // 402
	Unsupported               // 422
	Throttled                 // 429
	Upstream                  // 502 (500 on the Platform API, as its contract says)
	Timeout                   // 504: the upstream did not answer in time
	Unavailable               // 503
	Method                    // 405
	Precondition              // 412
	TooLarge                  // 413
	MediaType                 // 415
)

var statuses = [...]int{
	Internal: http.StatusInternalServerError, BadCredential: http.StatusUnauthorized, UpstreamAuth: http.StatusUnauthorized,
	Forbidden: http.StatusForbidden, NotFound: http.StatusNotFound, Invalid: http.StatusBadRequest,
	Unconfigured: http.StatusBadRequest, Conflict: http.StatusConflict, Gone: http.StatusGone,
	Unpaid: http.StatusPaymentRequired, Unsupported: http.StatusUnprocessableEntity, Throttled: http.StatusTooManyRequests,
	Upstream: http.StatusBadGateway, Timeout: http.StatusGatewayTimeout, Unavailable: http.StatusServiceUnavailable,
	Method: http.StatusMethodNotAllowed, Precondition: http.StatusPreconditionFailed,
	TooLarge: http.StatusRequestEntityTooLarge, MediaType: http.StatusUnsupportedMediaType,
}

// Status returns the HTTP status of the kind.
func (k Kind) Status() int { return statuses[k] }

// Error is a fault. Its fields are read by doors; build one with New.
type Error struct {
	Kind       Kind
	Code       string         // stable, dotted, lower case: "credit.insufficient"
	Message    string         // for people: what, why, what to do next
	Details    map[string]any // for programs; never a secret or a rejected value
	RetryAfter time.Duration  // 0 when waiting does not help
	cause      error
}

// New returns a fault. Domains call it once per code, in errors.go.
func New(kind Kind, code, message string) *Error {
	return &Error{Kind: kind, Code: code, Message: message}
}

// Error returns the message and the causes, for logs. Doors use Message.
func (e *Error) Error() string {
	if e.cause != nil {
		return e.Code + ": " + e.Message + " (" + e.cause.Error() + ")"
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns the cause, which never leaves the process.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is a fault of the same code, so that
// errors.Is(err, credit.ErrInsufficient) holds for every refinement of it.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// With returns a copy with one more detail.
func (e *Error) With(key string, value any) *Error {
	c := *e
	c.Details = maps.Clone(e.Details)
	if c.Details == nil {
		c.Details = map[string]any{}
	}
	c.Details[key] = value
	return &c
}

// Saying returns a copy with another message.
func (e *Error) Saying(format string, args ...any) *Error {
	c := *e
	c.Message = fmt.Sprintf(format, args...)
	return &c
}

// Because returns a copy that remembers its cause for the log.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// After returns a copy that asks the caller to wait.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// Of returns the fault in err's chain. An error without one is wrapped as an
// internal fault whose message says nothing of it; nil stays nil.
func Of(err error) *Error {
	if err == nil {
		return nil
	}
	var f *Error
	if errors.As(err, &f) {
		return f
	}
	return &Error{Kind: Internal, Code: "internal", Message: "Something went wrong on our side. Try again; if it stays, report the request id.", cause: err}
}

// CodeOf returns the code of err's fault, "internal" for other errors and "" for nil.
func CodeOf(err error) string {
	if err == nil {
		return ""
	}
	return Of(err).Code
}
