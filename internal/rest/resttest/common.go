package resttest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"headgate/internal/fault"
	"headgate/internal/rest"
)

// Common provokes on every operation of a door what every operation may
// answer, so that the door's own tests are left with what is particular.
type Common struct {
	Door *rest.Door
	// Fresh returns a credential that may do the operation, and that no cache
	// has seen.
	Fresh func(op rest.Op) string
	// Bad are Authorization headers by the word they are refused with.
	Bad map[string]string
	// Refused may do nothing, though it is known; "" where the matrix shows it.
	Refused string
	// Used returns a credential and an Idempotency-Key that was used with it for
	// something else; nil where no operation takes such keys.
	Used func(op rest.Op) (credential, key string)
	// Bodies are those with which public operations come to their handler.
	Bodies map[string]string
	// Busy is the same door with a rate of its own. Hollow is made of nothing,
	// so that whatever it is asked for meets a bug.
	Busy, Hollow *rest.Door
}

// Run sends the requests. Each must fail as it is meant to.
func (c Common) Run(t *testing.T) {
	for i, op := range c.Door.Operations() {
		t.Run(op.ID, func(t *testing.T) {
			hop := documented(c.Door, op)
			sender := sender{t, op, hop, c.Bodies[op.ID], &generator{rand: rand.New(rand.NewPCG(1, uint64(i))), door: c.Door}}
			bearer := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+c.Fresh(op)) }
			kind := func(k fault.Kind) string { return c.Door.Form().Code(&fault.Error{Kind: k}) }
			c.refused(sender, kind, bearer)
			sender.want(c.Hollow, 500, kind(fault.Internal), bearer)
			sender.want(c.Door, 503, kind(fault.Unavailable), bearer, func(r *http.Request) {
				late, cancel := context.WithDeadline(r.Context(), time.Now().Add(-time.Second))
				t.Cleanup(cancel)
				*r = *r.WithContext(late)
			})
		})
	}
}

func (c Common) refused(s sender, kind func(fault.Kind) string, bearer func(*http.Request)) {
	// A name that nobody knows, in the query; then no JSON at all.
	invalid, _ := c.Door.Form().Answer(rest.ErrInvalid)
	s.want(c.Door, invalid, kind(fault.Invalid), bearer, func(r *http.Request) { r.URL.RawQuery = "nobodyknows=1" })
	s.want(c.Door, 400, kind(fault.Invalid), func(r *http.Request) { *r = *s.request("[") }, bearer)
	nobody := func(r *http.Request) { r.Header.Set("Authorization", "Bearer a.b.c") }
	for range 1000 { // until the address has had what it may
		if a := s.send(c.Busy, nobody); a.Code == 429 {
			break
		}
	}
	s.want(c.Busy, 429, kind(fault.Throttled), nobody)
	if !s.op.Public {
		for word, header := range c.Bad {
			s.want(c.Door, 401, word, func(r *http.Request) {
				if header != "" {
					r.Header.Set("Authorization", header)
				}
			})
		}
	}
	if c.Refused != "" {
		s.want(c.Door, 403, kind(fault.Forbidden), func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+c.Refused) })
	}
	if s.op.Idempotent {
		s.want(c.Door, 409, kind(fault.Conflict), func(r *http.Request) {
			credential, key := c.Used(s.op)
			r.Header.Set("Authorization", "Bearer "+credential)
			r.Header.Set("Idempotency-Key", key)
		})
	}
}

// sender sends requests of one operation that are right but for what is
// changed.
type sender struct {
	t    *testing.T
	op   rest.Op
	hop  *huma.Operation
	body string // "" for one the schema allows
	g    *generator
}

func (s sender) request(body string) *http.Request {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), s.op.Method, s.g.door.Base()+fill(s.op, nil, nil), strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), "192.0.2.9:1"
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (s sender) send(d *rest.Door, changes ...func(*http.Request)) *answer {
	s.t.Helper()
	body := s.body
	if body == "" && s.hop.RequestBody != nil {
		body = string(bytes.TrimSpace(s.g.rightBody(s.hop)))
	}
	r := s.request(body)
	for _, change := range changes {
		change(r)
	}
	a := send(d, r)
	if err := note(d, a); err != nil {
		s.t.Error(err)
	}
	return a
}

// want sends a request that must fail so.
func (s sender) want(d *rest.Door, status int, word string, changes ...func(*http.Request)) {
	s.t.Helper()
	a := s.send(d, changes...)
	if a.Code != status || code(a.Body.Bytes()) != word {
		s.t.Errorf("status %d, want %d %s: %.300s", a.Code, status, word, a.Body)
	} else if err := failureForm(d, a.Code, a.Body.Bytes()); err != nil {
		s.t.Error(err)
	}
}
