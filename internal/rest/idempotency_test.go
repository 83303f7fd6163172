package rest_test

import (
	"bytes"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"

	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/testkit"
)

func TestIdempotency(t *testing.T) {
	const key = "Idempotency-Key: k-1"
	body := `{"name":"cAnArY"}`
	t.Run("the same request gets the stored answer, and nothing happens twice", func(t *testing.T) {
		f := newFake(t)
		first := f.call("POST", "/v1/things", body, key)
		again := f.call("POST", "/v1/things", body, key)
		testkit.Equal(t, again.Body.String(), first.Body.String())
		if first.Code != 201 || again.Code != 201 || f.made != 1 || again.Header().Get("Idempotent-Replayed") != "true" ||
			again.Header().Get("Content-Type") != "application/json" || again.Header().Get("X-Request-Id") == first.Header().Get("X-Request-Id") {
			t.Errorf("%d, %d, made %d, %v", first.Code, again.Code, f.made, again.Header())
		}
	})
	t.Run("without a key everything happens again", func(t *testing.T) {
		f := newFake(t)
		f.call("POST", "/v1/things", body)
		f.call("POST", "/v1/things", body)
		if f.made != 2 {
			t.Errorf("made %d", f.made)
		}
	})
	t.Run("another body is a conflict", func(t *testing.T) {
		f := newFake(t)
		f.call("POST", "/v1/things", body, key)
		wantFailure(t, f.call("POST", "/v1/things", `{"name":"b"}`, key), 409, "CONFLICT")
	})
	t.Run("another principal of the organization gets no replay", func(t *testing.T) {
		f := newFake(t)
		f.call("POST", "/v1/things", body, key)
		wantFailure(t, f.call("POST", "/v1/things", body, key, "Authorization: Bearer "+otherKey), 409, "CONFLICT")
	})
	t.Run("one in flight is a conflict", func(t *testing.T) {
		f := newFake(t)
		f.block, f.started = make(chan struct{}), make(chan struct{})
		var first *httptest.ResponseRecorder
		var wg sync.WaitGroup
		wg.Go(func() { first = f.call("POST", "/v1/things", body, key) })
		<-f.started
		wantFailure(t, f.call("POST", "/v1/things", body, key), 409, "CONFLICT")
		close(f.block)
		wg.Wait()
		if first.Code != 201 || f.made != 1 {
			t.Errorf("%d, made %d", first.Code, f.made)
		}
	})
	t.Run("a refusal with an effect is stored, a failure of ours is not", func(t *testing.T) {
		for status, c := range map[int]struct {
			err    error
			stored bool
		}{
			402: {fault.New(fault.Unpaid, "x.unpaid", "Pay."), true},
			429: {fault.New(fault.Throttled, "x.slow", "Wait."), false},
			500: {errTest, false},
			503: {fault.New(fault.Unavailable, "x.down", "Later."), false},
		} {
			f := newFake(t)
			f.fail = c.err
			if w := f.call("POST", "/v1/things", body, key); w.Code != status {
				t.Errorf("got %d, want %d", w.Code, status)
			}
			f.fail = nil
			if w := f.call("POST", "/v1/things", body, key); (w.Code == status) != c.stored {
				t.Errorf("after %d: %d", status, w.Code)
			}
		}
	})
	t.Run("a failure that had an effect is", func(t *testing.T) {
		f := newFake(t)
		f.fail, f.final = errTest, true
		first := f.call("POST", "/v1/things", body, key)
		f.fail = nil
		again := f.call("POST", "/v1/things", body, key)
		testkit.Equal(t, []any{again.Code, again.Body.String(), f.made}, []any{500, first.Body.String(), 0})
	})
	t.Run("a key is in the first answer alone", func(t *testing.T) {
		f := newFake(t)
		secret := "mcp_sk_" + strings.Repeat("aB3", 12)
		for name, shown := range map[string]string{
			secret: "mcp_sk_aB3aB…", "two: " + secret + " " + secret + ".": "two: mcp_sk_aB3aB… mcp_sk_aB3aB….",
			secret + "x": secret + "x", "mcp_sk_short": "mcp_sk_short", // no keys
		} {
			body := `{"name":"x","extra":{"k":"` + name + `"}}`
			k := "Idempotency-Key: " + strconv.Itoa(len(name))
			if w := f.call("POST", "/v1/things", body, k); !strings.Contains(w.Body.String(), `"k":"`+name+`"`) {
				t.Errorf("first: %s", w.Body)
			}
			if w := f.call("POST", "/v1/things", body, k); w.Code != 201 || !strings.Contains(w.Body.String(), `"k":"`+shown+`"`) {
				t.Errorf("again: %s, want %s", w.Body, shown)
			}
		}
	})
	t.Run("a request that never reached the handler frees its key", func(t *testing.T) {
		f := newFake(t)
		wantFailure(t, f.call("POST", "/v1/things", `{"name":1}`, key), 400, "VALIDATION_ERROR")
		if w := f.call("POST", "/v1/things", body, key); w.Code != 201 {
			t.Errorf("got %d", w.Code)
		}
	})
	t.Run("a panic frees its key", func(t *testing.T) {
		f := newFake(t)
		f.fail = nil
		f.block = make(chan struct{})
		close(f.block) // and started is nil: closing it panics
		wantFailure(t, f.call("POST", "/v1/things", body, key), 500, "INTERNAL_SERVER_ERROR")
		f.block = nil
		if w := f.call("POST", "/v1/things", body, key); w.Code != 201 {
			t.Errorf("got %d", w.Code)
		}
	})
	t.Run("keys that are none are refused", func(t *testing.T) {
		f := newFake(t)
		for _, h := range [][]string{{"Idempotency-Key: "}, {"Idempotency-Key: a b"}, {"Idempotency-Key: é"}, {"Idempotency-Key: " + strings.Repeat("k", 256)}, {key, "+Idempotency-Key: b"}} {
			wantFailure(t, f.call("POST", "/v1/things", body, h...), 400, "VALIDATION_ERROR")
		}
	})
	t.Run("what is stored is sealed", func(t *testing.T) {
		store := &memory{entries: map[string]*entry{}}
		f := newFake(t, func(cfg *rest.Config) { cfg.Idempotency = store })
		f.call("POST", "/v1/things", body, key)
		for _, e := range store.entries {
			if len(e.answer) == 0 || bytes.Contains(e.answer, []byte("cAnArY")) {
				t.Errorf("stored %q", e.answer)
			}
		}
	})
}
