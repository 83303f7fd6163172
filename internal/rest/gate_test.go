package rest_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/testkit"
)

type agreed struct{}

func TestGate(t *testing.T) {
	needs := fault.New(fault.Forbidden, "x.needs", "Ask first.")
	var asked []string
	var waits any
	var refused error
	f := newFake(t, func(c *rest.Config) {
		c.Gate = func(ctx context.Context, op rest.Op, input []byte) (context.Context, any, error) {
			asked = append(asked, op.Gate+" "+string(input))
			return context.WithValue(ctx, agreed{}, true), waits, refused
		}
		c.Needs = needs
	})
	made := 0
	type gatedBody struct {
		Name string `json:"name" minLength:"2"`
	}
	type gated struct {
		ID   string `path:"id" maxLength:"10"`
		Body gatedBody
	}
	rest.Handle(f.Door, rest.Op{Method: "PUT", Path: "/gated/{id}", ID: "gated", Summary: "Gated", Permission: access.ServicesRead, Gate: "secrets", Idempotent: true},
		func(context.Context, *gated) (*thing, error) { made++; return &thing{ID: "x"}, nil })
	put := func(body string, headers ...string) *httptest.ResponseRecorder {
		return f.call("PUT", "/v1/gated/a", body, headers...)
	}
	t.Run("lets pass what nothing holds back", func(t *testing.T) {
		if r := put(`{"name":"abc"}`); r.Code != http.StatusOK || made != 1 {
			t.Fatalf("%d %s", r.Code, r.Body)
		}
		testkit.Equal(t, asked, []string{`secrets {"ID":"a","Body":{"name":"abc"}}`})
	})
	t.Run("answers 202 with what waits, runs nothing, and stores no answer", func(t *testing.T) {
		waits = map[string]any{"success": true, "data": map[string]any{"id": "apr_1"}}
		r := put(`{"name":"abc"}`, "Idempotency-Key: k")
		if r.Code != http.StatusAccepted || made != 1 || strings.TrimSpace(r.Body.String()) != `{"data":{"id":"apr_1"},"success":true}` || r.Header().Get("Content-Type") != "application/json" {
			t.Fatalf("%d %s %v", r.Code, r.Body, r.Header())
		}
		waits = nil
		if r := put(`{"name":"abc"}`, "Idempotency-Key: k"); r.Code != http.StatusOK || made != 2 {
			t.Fatalf("%d %s", r.Code, r.Body)
		}
	})
	t.Run("is asked only about valid requests, and may refuse", func(t *testing.T) {
		n := len(asked)
		if r := put(`{"name":"a"}`); r.Code != http.StatusBadRequest || len(asked) != n {
			t.Errorf("%d, asked %d times", r.Code, len(asked)-n)
		}
		refused = fault.New(fault.Forbidden, "x.no", "No.")
		if r := put(`{"name":"abc"}`); r.Code != http.StatusForbidden || made != 2 {
			t.Errorf("%d %s", r.Code, r.Body)
		}
		refused = nil
	})
	t.Run("is asked late by a handler that needs it, which then runs again with what was agreed", func(t *testing.T) {
		runs := 0
		late := func(id, gate string) {
			rest.Handle(f.Door, rest.Op{Method: "PUT", Path: "/" + id + "/{id}", ID: id, Summary: "Late", Permission: access.ServicesRead, Late: gate, Idempotent: true},
				func(ctx context.Context, in *gated) (*thing, error) {
					runs++
					if in.Body.Name == "secret" && ctx.Value(agreed{}) == nil {
						return nil, needs
					}
					return &thing{ID: "x"}, nil
				})
		}
		late("late", "secrets")
		late("undeclared", "")
		asked, waits = nil, nil
		if r := f.call("PUT", "/v1/late/a", `{"name":"plain"}`); r.Code != http.StatusOK || len(asked) != 0 || runs != 1 {
			t.Fatalf("%d %s, asked %v", r.Code, r.Body, asked)
		}
		waits = map[string]any{"id": "apr_1"}
		if r := f.call("PUT", "/v1/late/a", `{"name":"secret"}`, "Idempotency-Key: l"); r.Code != http.StatusAccepted || runs != 2 {
			t.Fatalf("%d %s", r.Code, r.Body)
		}
		waits = nil
		if r := f.call("PUT", "/v1/late/a", `{"name":"secret"}`, "Idempotency-Key: l"); r.Code != http.StatusOK || runs != 4 {
			t.Fatalf("%d %s, %d runs", r.Code, r.Body, runs)
		}
		testkit.Equal(t, asked, []string{`secrets {"ID":"a","Body":{"name":"secret"}}`, `secrets {"ID":"a","Body":{"name":"secret"}}`})
		if r := f.call("PUT", "/v1/undeclared/a", `{"name":"secret"}`); r.Code != http.StatusForbidden || len(asked) != 2 {
			t.Errorf("%d %s", r.Code, r.Body)
		}
	})
}

func TestSetStatus(t *testing.T) {
	f := newFake(t)
	rest.Handle(f.Door, rest.Op{Method: "POST", Path: "/partly", ID: "partly", Summary: "Partly", Permission: access.ServicesRead, Status: 201}, func(ctx context.Context, _ *rest.None) (*thing, error) {
		rest.SetStatus(ctx, http.StatusMultiStatus)
		return &thing{ID: "x"}, nil
	})
	if r := f.call("POST", "/v1/partly", ""); r.Code != http.StatusMultiStatus {
		t.Errorf("%d %s", r.Code, r.Body)
	}
	if r := f.call("POST", "/v1/things", `{"name":"a"}`); r.Code != http.StatusCreated {
		t.Errorf("%d %s", r.Code, r.Body)
	}
}
