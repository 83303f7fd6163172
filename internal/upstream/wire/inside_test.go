package wire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/testkit"
	"headgate/internal/upstream/wire"
)

// inside asks a handler of this process.
func inside(t *testing.T, ctx context.Context, r *wire.Request, h http.HandlerFunc) (*wire.Response, error) {
	t.Helper()
	p := wire.NewPool(nil, wire.Options{})
	t.Cleanup(p.Close)
	r.Target = wire.NewInsideTarget(h)
	return p.Do(ctx, r)
}

func TestInside(t *testing.T) {
	ctx := t.Context()
	t.Run("the handler sees what a server would have read", func(t *testing.T) {
		resp := testkit.Must(inside(t, ctx, &wire.Request{Body: [][]byte{[]byte("{\"a\""), []byte(":1}")}, Fields: []wire.Field{{Name: "MCP-Protocol-Version", Value: "2025-11-25"}}},
			func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				w.Header().Set("Content-Type", "application/json")
				w.Header().Set("Mcp-Session-Id", "s1")
				fmt.Fprintf(w, `{"seen":"%s %s %s %s %d %v %s"}`, r.Method, r.URL.Path, r.Header.Get("Mcp-Protocol-Version"), r.Header.Get("Content-Type"), r.ContentLength, err, strings.ReplaceAll(string(body), `"`, "'"))
			}))(t)
		defer resp.Release()
		body := testkit.Must(resp.ReadAll(1000))(t)
		testkit.Equal(t, string(body), `{"seen":"POST /mcp 2025-11-25 application/json 7 <nil> {'a':1}"}`)
		if resp.Status != 200 || resp.Kind != wire.JSON || resp.Header("Mcp-Session-Id") != "s1" {
			t.Errorf("%d %v %s", resp.Status, resp.Kind, resp.Header("Mcp-Session-Id"))
		}
	})
	t.Run("an answer without a body has a status", func(t *testing.T) {
		for _, status := range []int{200, 202, 404, 503} {
			resp := testkit.Must(inside(t, ctx, &wire.Request{Method: "DELETE"}, func(w http.ResponseWriter, _ *http.Request) {
				if status != 200 {
					w.WriteHeader(status)
				}
			}))(t)
			if body, err := resp.ReadAll(10); resp.Status != status || err != nil || len(body) > 0 {
				t.Errorf("%d: %d %q %v", status, resp.Status, body, err)
			}
			resp.Release()
		}
	})
	t.Run("events come one by one, while the handler goes on", func(t *testing.T) {
		next := make(chan struct{})
		resp := testkit.Must(inside(t, ctx, &wire.Request{Method: "GET", Accept: "text/event-stream"}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				_ = http.NewResponseController(w).Flush()
				<-next
			}
		}))(t)
		defer resp.Release()
		for i := range 3 {
			if e := testkit.Must(resp.NextEvent(100))(t); string(e.Data) != fmt.Sprint(i) {
				t.Errorf("%q", e.Data)
			}
			next <- struct{}{}
		}
		if _, err := resp.NextEvent(100); err != io.EOF {
			t.Errorf("got %v", err)
		}
	})
	t.Run("who stops reading stops the handler", func(t *testing.T) {
		stopped := make(chan error, 1)
		resp := testkit.Must(inside(t, ctx, &wire.Request{Method: "GET"}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			_, err := w.Write([]byte("data: x\n\n"))
			stopped <- err
		}))(t)
		resp.Release()
		if err := <-stopped; err == nil {
			t.Error("the handler could still write")
		}
	})
	t.Run("a handler writes only so far ahead", func(t *testing.T) {
		var wrote atomic.Int64
		resp := testkit.Must(inside(t, ctx, &wire.Request{Method: "GET"}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			part := make([]byte, 64<<10)
			for range 160 {
				n, err := w.Write(part)
				if wrote.Add(int64(n)); err != nil {
					return
				}
			}
		}))(t)
		defer resp.Release()
		time.Sleep(20 * time.Millisecond) // for it to go too far, if it would
		if n := wrote.Load(); n > 512<<10 {
			t.Errorf("%d bytes ahead", n)
		}
		if body := testkit.Must(resp.ReadAll(16 << 20))(t); len(body) != 160*64<<10 {
			t.Errorf("%d bytes", len(body))
		}
	})
	t.Run("a handler that breaks off is a broken answer, before the head and behind it", func(t *testing.T) {
		_, err := inside(t, ctx, &wire.Request{}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		testkit.Fault(t, err, "upstream.lost")
		resp := testkit.Must(inside(t, ctx, &wire.Request{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"half`))
			panic("a bug")
		}))(t)
		defer resp.Release()
		_, err = resp.ReadAll(1000)
		testkit.Fault(t, err, "upstream.lost")
	})
	t.Run("a deadline and a caller that leaves end the wait, and the handler", func(t *testing.T) {
		ended := make(chan struct{}, 2)
		hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done(); ended <- struct{}{} }
		_, err := inside(t, ctx, &wire.Request{Deadline: time.Now().Add(10 * time.Millisecond)}, hang)
		testkit.Fault(t, err, "upstream.timeout")
		leaving, leave := context.WithCancel(ctx)
		time.AfterFunc(10*time.Millisecond, leave)
		if _, err = inside(t, leaving, &wire.Request{}, hang); !errors.Is(err, wire.ErrSent) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		<-ended
		<-ended
	})
	t.Run("no line of a header's value becomes a header", func(t *testing.T) {
		resp := testkit.Must(inside(t, ctx, &wire.Request{}, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Mcp-Session-Id", "a\r\nRetry-After: 9")
		}))(t)
		defer resp.Release()
		if resp.Header("Retry-After") != "" {
			t.Error("taken for a header")
		}
	})
}
