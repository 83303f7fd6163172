package wire_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"

	"headgate/internal/netguard"
	"headgate/internal/upstream/wire"
)

func TestNeverTwice(t *testing.T) {
	t.Run("a request is not repeated when a reused connection loses the answer", func(t *testing.T) {
		up := serve(t, func(p *peer) {
			if _, ok := p.request(); ok {
				p.say(okAnswer)
				p.request()
			}
		})
		p := newPool(t, wire.Options{})
		must(t, p, post(t, up, patience))
		_, _, _, err := call(t.Context(), p, post(t, up, patience))
		if !errors.Is(err, wire.ErrSent) || up.requests.Load() != 2 || up.conns.Load() != 1 {
			t.Fatalf("got %v after %d requests on %d connections", err, up.requests.Load(), up.conns.Load())
		}
	})

	// The client's end of a connection that breaks on its second write, after
	// so many bytes. It hides its socket, so that death can't be seen before.
	breaking := func(took int) (wire.Dial, *atomic.Int32) {
		guard := netguard.New(netguard.Policy{Loopback: true})
		dials := new(atomic.Int32)
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			dials.Add(1)
			c, err := guard.DialContext(ctx, network, addr)
			return &brittle{Conn: c, took: took}, err
		}, dials
	}
	t.Run("a write that took nothing is tried once on a fresh connection", func(t *testing.T) {
		up := answering(t, okAnswer)
		dial, dials := breaking(0)
		p := wire.NewPool(dial, wire.Options{})
		defer p.Close()
		must(t, p, post(t, up, patience))
		must(t, p, post(t, up, patience))
		if up.requests.Load() != 2 || dials.Load() != 2 {
			t.Fatalf("%d requests, %d dials", up.requests.Load(), dials.Load())
		}
		if s := p.Stats(); s.Open != 1 {
			t.Errorf("left: %+v", s)
		}
	})
	t.Run("a write that took a byte is not", func(t *testing.T) {
		up := answering(t, okAnswer)
		dial, dials := breaking(1)
		p := wire.NewPool(dial, wire.Options{})
		defer p.Close()
		must(t, p, post(t, up, patience))
		_, _, _, err := call(t.Context(), p, post(t, up, patience))
		if !errors.Is(err, wire.ErrSent) || up.requests.Load() != 1 || dials.Load() != 1 {
			t.Fatalf("got %v, %d requests, %d dials", err, up.requests.Load(), dials.Load())
		}
	})
}

type brittle struct {
	net.Conn
	took   int
	writes int
}

func (b *brittle) Write(p []byte) (int, error) {
	if b.writes++; b.writes == 2 {
		b.Conn.Close()
		return b.took, syscall.EPIPE
	}
	return b.Conn.Write(p)
}

func TestEarlyAnswer(t *testing.T) {
	t.Run("counts, although the request could not be written whole", func(t *testing.T) {
		up := serve(t, func(p *peer) {
			p.in.ReadString('\n')
			p.say("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
		})
		p := newPool(t, wire.Options{})
		r := post(t, up, patience)
		r.Body = [][]byte{make([]byte, 16<<20)}
		if status, _, _, err := call(t.Context(), p, r); err != nil || status != 413 {
			t.Errorf("got %d, %v", status, err)
		}
		if s := p.Stats(); s != (wire.Stats{}) {
			t.Errorf("the connection is kept: %+v", s)
		}
	})
	up := serve(t, func(p *peer) {
		p.in.ReadString('\n')
		p.say("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
		p.Conn.(*net.TCPConn).CloseWrite()
		<-p.up.over
	})
	p := wire.NewPool(netguard.New(netguard.Policy{Loopback: true}).DialContext, wire.Options{})
	defer p.Close()
	t.Run("a body nobody reads ends at the deadline", func(t *testing.T) {
		r := post(t, up, hurry)
		r.Body = [][]byte{make([]byte, 16<<20)}
		if _, _, _, err := call(t.Context(), p, r); err != nil && !errors.Is(err, wire.ErrTimeout) {
			t.Fatalf("got %v", err)
		}
		if s := p.Stats(); s != (wire.Stats{}) {
			t.Errorf("left: %+v", s)
		}
	})
}
