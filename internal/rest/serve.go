package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/server/request"
)

// identify makes sure the request has an id. The server gives it one; a door
// served without it (a test) makes its own.
func (d *Door) identify(w http.ResponseWriter, r *http.Request) (http.ResponseWriter, *http.Request) {
	if request.From(r.Context()) == nil {
		info := request.Info{ID: id.New("req")}
		w.Header().Set("X-Request-Id", info.ID)
		r = r.WithContext(request.With(r.Context(), info))
	}
	return w, r
}

// serve is the order of guards: shape, credential form, credential, rate,
// permission, body, idempotency. next decodes, validates and calls the handler.
func (d *Door) serve(o *operation, w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	st := &state{door: d, op: o, header: w.Header(), info: request.From(r.Context())}
	st.info.Route = o.pattern
	ctx := context.WithValue(r.Context(), stateKey{}, st)
	if !o.stream {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.timeout(o))
		defer cancel()
	}
	r = r.WithContext(ctx)
	tracked := &tracker{ResponseWriter: w}
	defer d.rescue(tracked, r)
	if err := d.admit(st, tracked, r); err != nil {
		if !st.metered {
			err = d.stranger(tracked, r, err)
		}
		d.Refuse(tracked, r, err)
		return
	}
	if o.Idempotent && r.Header["Idempotency-Key"] != nil {
		d.once(st, tracked, r, next)
		return
	}
	next(tracked, r)
}

func (d *Door) timeout(o *operation) time.Duration {
	if o.Timeout > 0 {
		return o.Timeout
	}
	return d.cfg.Timeout
}

// admit runs every guard before the handler.
func (d *Door) admit(st *state, w http.ResponseWriter, r *http.Request) error {
	o := st.op
	if err := d.checkShape(o, r); err != nil {
		return err
	}
	p, err := d.authenticate(o, r)
	if err != nil {
		return err
	}
	st.principal = p
	if p != nil {
		st.info.Principal = p.ID
	}
	if d.cfg.AllowOrigin != nil && !d.cfg.AllowOrigin(r, p, r.Header.Get("Origin")) {
		w.Header().Del("Access-Control-Allow-Origin")
		return ErrOrigin
	}
	st.metered = true
	if err := d.meter(w, r, p); err != nil {
		return err
	}
	if err := permit(o, p); err != nil {
		return err
	}
	return d.readBody(o, w, r)
}

// meter takes the request from its rate and shows what is left.
func (d *Door) meter(w http.ResponseWriter, r *http.Request, p *access.Principal) error {
	if d.cfg.Limit == nil {
		return nil
	}
	q, err := d.cfg.Limit(r, p)
	showQuota(w.Header(), q)
	return err
}

// stranger counts a request that was refused before anybody knew whose it is
// against its address. It returns the refusal, or that the address is over its
// rate.
func (d *Door) stranger(w http.ResponseWriter, r *http.Request, refusal error) error {
	if err := d.meter(w, r, nil); err != nil {
		return err
	}
	return refusal
}

func (d *Door) authenticate(o *operation, r *http.Request) (*access.Principal, error) {
	if o.Public {
		return nil, nil
	}
	c, err := d.cfg.Credentials.Find(r)
	if err != nil {
		return nil, err
	}
	if c.Prefix != "" && slices.Contains(o.RefuseKeys, c.Prefix) {
		return nil, access.ErrNeedSession
	}
	if c.Scheme == NoScheme {
		return nil, ErrNoCredential
	}
	p, err := d.cfg.Authenticate(r, c)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, fmt.Errorf("%s: Authenticate found neither a principal nor an error", o.pattern)
	}
	return p, nil
}

func permit(o *operation, p *access.Principal) error {
	switch {
	case o.Public:
		return nil
	case len(o.Audience) > 0 && !slices.Contains(o.Audience, p.Kind):
		return access.ErrDenied.Saying("This kind of credential (%s) may not do that; these may: %s.", p.Kind, kindNames(o.Audience))
	case o.Guard != nil:
		return o.Guard(p)
	default:
		return access.Require(p, o.Permission)
	}
}

func kindNames(kinds []access.Kind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.String())
	}
	return strings.Join(names, ", ")
}

func showQuota(h http.Header, q Quota) {
	if q.Limit > 0 {
		h.Set("X-RateLimit-Limit", strconv.FormatInt(q.Limit, 10))
		h.Set("X-RateLimit-Remaining", strconv.FormatInt(max(0, q.Remaining), 10))
		h.Set("X-RateLimit-Reset", strconv.FormatInt(q.Reset.Unix(), 10))
	}
}

// tracker knows whether an answer has begun, so that a panic after that ends
// the connection instead of writing into it.
type tracker struct {
	http.ResponseWriter
	begun bool
}

func (t *tracker) WriteHeader(status int) {
	t.begun = true
	t.ResponseWriter.WriteHeader(status)
}

func (t *tracker) Write(b []byte) (int, error) {
	t.begun = true
	return t.ResponseWriter.Write(b)
}

func (t *tracker) Flush() { _ = http.NewResponseController(t.ResponseWriter).Flush() }

// Unwrap is for http.ResponseController.
func (t *tracker) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func (d *Door) rescue(w *tracker, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	info := request.From(r.Context())
	if v != http.ErrAbortHandler { //nolint:errorlint // a sentinel, never wrapped
		info.Err, info.Stack = fmt.Errorf("panic: %v", v), debug.Stack()
	}
	if w.begun || v == http.ErrAbortHandler { //nolint:errorlint // as above
		panic(http.ErrAbortHandler)
	}
	d.Refuse(w, r, info.Err)
}

// failure readies a handler's error for its way through huma.
func (d *Door) failure(ctx context.Context, err error) *failure {
	f := faultOf(ctx, err)
	status, _ := d.cfg.Form.Answer(f)
	return &failure{f, status}
}

// faultOf returns the fault in an error. Time that ran out and a client that
// went away are nobody's bug.
func faultOf(ctx context.Context, err error) *fault.Error {
	var declared *fault.Error
	if !errors.As(err, &declared) {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			return ErrSlow.Because(err)
		case errors.Is(err, context.Canceled) && ctx.Err() != nil:
			return errGone.Because(err)
		}
	}
	return fault.Of(err)
}

// answer is the one place that words a fault: its headers into h, its body in
// the door's form. What went wrong inside goes to the request's log event.
func (d *Door) answer(h http.Header, ctx context.Context, f *fault.Error) (int, rendered) {
	info := request.From(ctx)
	info.Code = f.Code
	if f.Kind == fault.Internal {
		if info.Err == nil {
			info.Err = f
		}
		f = f.Saying("%s Request id: %s.", f.Message, info.ID)
	} else if cause := errors.Unwrap(f); cause != nil && info.Err == nil {
		info.Err = cause
	}
	status, body := d.cfg.Form.Answer(f)
	if status >= http.StatusInternalServerError && d.cfg.Failed != nil {
		d.cfg.Failed(ctx, f)
	}
	wait := f.RetryAfter
	if wait <= 0 && (f.Kind == fault.Throttled || f.Kind == fault.Unavailable) {
		wait = time.Second
	}
	if wait > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((wait+time.Second-1)/time.Second), 10))
	}
	if status == http.StatusUnauthorized && f.Kind == fault.BadCredential && h.Get("WWW-Authenticate") == "" {
		h.Set("WWW-Authenticate", `Bearer realm="headgate"`)
	}
	text, err := render(body)
	if err != nil { // details that JSON cannot hold: a bug
		info.Err = errors.Join(info.Err, err)
		status, body = d.cfg.Form.Answer(fault.Of(err))
		text, _ = render(body)
	}
	return status, text
}

// held is the answer of an operation that was held back.
type held struct{ answer any }

func (h *held) Error() string  { return "held back" }
func (h *held) GetStatus() int { return http.StatusAccepted }

// gate asks whether a valid request is to be held back at a gate, and returns
// the context for its handler; its error is held when it is, else a failure.
func (d *Door) gate(ctx context.Context, op Op, gate string, input any) (context.Context, error) {
	if gate == "" || d.cfg.Gate == nil {
		return ctx, nil
	}
	text, err := json.Marshal(input)
	if err != nil {
		return ctx, d.failure(ctx, fmt.Errorf("%s: sum up the request: %w", op.ID, err))
	}
	op.Gate = gate
	agreed, waits, err := d.cfg.Gate(ctx, op, text)
	switch {
	case err != nil:
		return ctx, d.failure(ctx, err)
	case waits != nil:
		return ctx, &held{waits}
	}
	return agreed, nil
}

// transform turns what huma is about to send into bytes, in the door's form.
func (d *Door) transform(ctx huma.Context, _ string, v any) (any, error) {
	if f, ok := v.(*failure); ok {
		_, text := d.answer(stateOf(ctx.Context()).header, ctx.Context(), f.fault)
		return text, nil
	}
	if h, ok := v.(*held); ok {
		v = h.answer
	}
	text, err := render(v)
	if err != nil {
		panic(fmt.Errorf("%s: encode the answer: %w", ctx.Operation().OperationID, err))
	}
	return text, nil
}
