package wire_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"headgate/internal/fault"
	"headgate/internal/netguard"
	"headgate/internal/upstream/wire"
)

func TestDeadlineAndCancel(t *testing.T) {
	gone := make(chan struct{}, 8)
	up := serve(t, once(func(p *peer) { p.hold(); gone <- struct{}{} }))
	for _, c := range []struct {
		name string
		end  func(*wire.Request, context.CancelFunc)
		want *fault.Error
		also error
	}{
		{"the request's deadline", func(r *wire.Request, _ context.CancelFunc) { r.Deadline = time.Now().Add(hurry) }, wire.ErrTimeout, context.DeadlineExceeded},
		{"cancelling the context", func(_ *wire.Request, cancel context.CancelFunc) { time.AfterFunc(hurry, cancel) }, wire.ErrSent, context.Canceled},
	} {
		t.Run(c.name+" ends the exchange and closes the connection", func(t *testing.T) {
			p := newPool(t, wire.Options{})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := post(t, up, patience)
			c.end(r, cancel)
			start := time.Now()
			_, _, _, err := call(ctx, p, r)
			if !errors.Is(err, c.want) || !errors.Is(err, c.also) {
				t.Errorf("got %v", err)
			}
			<-gone
			if took := time.Since(start); took > time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	t.Run("the context's own deadline is a timeout too", func(t *testing.T) {
		p := newPool(t, wire.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), hurry)
		defer cancel()
		r := post(t, up, patience)
		r.Deadline = time.Time{}
		if _, _, _, err := call(ctx, p, r); !errors.Is(err, wire.ErrTimeout) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("an exchange that begins while the watch rests is watched", func(t *testing.T) {
		p := newPool(t, wire.Options{})
		time.Sleep(1200 * time.Millisecond) // longer than the watch takes to rest
		start := time.Now()
		if _, _, _, err := call(t.Context(), p, post(t, up, hurry)); !errors.Is(err, wire.ErrTimeout) {
			t.Errorf("got %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("it took %s", took)
		}
	})
	t.Run("a connection the watch has ended is not used again, although its answer was whole", func(t *testing.T) {
		ok := answering(t, okAnswer)
		p := newPool(t, wire.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := p.Do(ctx, post(t, ok, patience))
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(hurry, cancel)
		if _, _, _, err := call(ctx, p, post(t, up, patience)); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err) // the watch judges older connections first, so it has seen both now
		}
		if body, err := resp.ReadAll(0); err != nil || string(body) != "{}" {
			t.Errorf("got %q, %v", body, err)
		}
		resp.Release()
		if s := p.Stats(); s != (wire.Stats{}) {
			t.Errorf("left: %+v", s)
		}
	})
	t.Run("nothing is sent when the time is up before", func(t *testing.T) {
		p := newPool(t, wire.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		before := up.conns.Load()
		_, _, _, err1 := call(ctx, p, post(t, up, patience))
		_, _, _, err2 := call(t.Context(), p, post(t, up, -time.Second))
		if !errors.Is(err1, wire.ErrDial) || !errors.Is(err2, wire.ErrDial) || up.conns.Load() != before {
			t.Errorf("got %v, %v", err1, err2)
		}
	})
	t.Run("a watch that ended one exchange leaves the next alone", func(t *testing.T) {
		ok := answering(t, okAnswer)
		p := newPool(t, wire.Options{})
		for range 300 {
			ctx, cancel := context.WithCancel(t.Context())
			_, _, _, err := call(ctx, p, post(t, ok, patience))
			cancel()
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	closed := "http://" + l.Addr().String()
	texts := map[string]bool{}
	for name, c := range map[string]struct {
		url string
		p   netguard.Policy
	}{
		"closed port":     {closed, netguard.Policy{Loopback: true}},
		"private address": {closed, netguard.Policy{}},
		"no such name":    {"http://mcp.invalid/", netguard.Policy{}},
		"no TLS":          {strings.Replace(answering(t, okAnswer).url, "http:", "https:", 1), netguard.Policy{Loopback: true}},
	} {
		p := wire.NewPool(netguard.New(c.p).DialContext, wire.Options{})
		_, _, _, err := call(t.Context(), p, &wire.Request{Target: target(t, c.url), Deadline: time.Now().Add(patience)})
		if !errors.Is(err, wire.ErrDial) {
			t.Errorf("%s: %v", name, err)
		}
		texts[fmt.Sprint(fault.Of(err).Code, fault.Of(err).Message, fault.Of(err).Details)] = true
		if s := p.Stats(); s != (wire.Stats{}) {
			t.Errorf("%s: left %+v", name, s)
		}
		p.Close()
	}
	if len(texts) != 1 {
		t.Errorf("the messages differ: %v", texts)
	}
}
