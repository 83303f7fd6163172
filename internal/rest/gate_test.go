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

func TestGate(t *testing.T) {
	var asked []string
	var waits any
	var refused error
	f := newFake(t, func(c *rest.Config) {
		c.Gate = func(_ context.Context, op rest.Op, input []byte) (any, error) {
			asked = append(asked, op.Gate+" "+string(input))
			return waits, refused
		}
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
