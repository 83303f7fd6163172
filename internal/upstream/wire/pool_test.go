package wire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/upstream/wire"
)

// eventually waits for a state that others bring about.
func eventually(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	tb.Fatalf("never: %s", what)
}

func must(tb testing.TB, c wire.Client, r *wire.Request) string {
	tb.Helper()
	_, _, body, err := call(tb.Context(), c, r)
	if err != nil {
		tb.Fatal(err)
	}
	return body
}

func TestConnectionsAreReused(t *testing.T) {
	t.Run("one connection serves requests in turn, over all targets of an authority", func(t *testing.T) {
		up := answering(t, okAnswer)
		p := newPool(t, wire.Options{})
		for i := range 20 {
			r := post(t, up, patience)
			r.Target = target(t, up.url+strconv.Itoa(i%2))
			must(t, p, r)
		}
		if n := up.conns.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
	t.Run("a connection that died while idle is noticed before use", func(t *testing.T) {
		died := make(chan struct{})
		for name, end := range map[string]func(*peer){
			"closed":      func(p *peer) { p.Close() },
			"reset":       (*peer).reset,
			"half closed": func(p *peer) { p.Conn.(*net.TCPConn).CloseWrite() },
			"talkative":   func(p *peer) { p.say(okAnswer) },
		} {
			read := make(chan struct{})
			up := serve(t, once(func(p *peer) {
				p.say(okAnswer)
				<-read // else the bytes might count as part of the answer
				end(p)
				died <- struct{}{}
				p.hold()
			}))
			p := newPool(t, wire.Options{})
			for range 3 {
				must(t, p, post(t, up, patience))
				read <- struct{}{}
				<-died
			}
			if up.requests.Load() != 3 || up.conns.Load() != 3 {
				t.Errorf("%s: %d requests on %d connections", name, up.requests.Load(), up.conns.Load())
			}
		}
	})
	t.Run("a stream whose end comes with its last event gives the connection back at once", func(t *testing.T) {
		up := answering(t, sseHead+chunked+"9\r\ndata: 1\n\n\r\n0\r\n\r\n")
		p := newPool(t, wire.Options{})
		for range 3 {
			resp, err := p.Do(t.Context(), post(t, up, patience))
			if err != nil {
				t.Fatal(err)
			}
			e, err := resp.NextEvent(0)
			if s := p.Stats(); s != (wire.Stats{Open: 1, Idle: 1}) {
				t.Errorf("%+v", s)
			}
			resp.Close()
			if err != nil || string(e.Data) != "1" {
				t.Fatalf("got %q, %v", e.Data, err)
			}
			resp.Release()
		}
		if n := up.conns.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
	t.Run("a stream closed after its last event keeps the connection if its end has come, in its own packet", func(t *testing.T) {
		ended := make(chan struct{})
		read := make(chan struct{})
		up := serve(t, func(p *peer) {
			for {
				if _, ok := p.request(); !ok {
					return
				}
				p.say(sseHead + chunked + "9\r\ndata: 1\n\n\r\n")
				<-read
				p.say("0\r\n\r\n")
				ended <- struct{}{}
			}
		})
		p := newPool(t, wire.Options{})
		for range 3 {
			resp, err := p.Do(t.Context(), post(t, up, patience))
			if err != nil {
				t.Fatal(err)
			}
			e, err := resp.NextEvent(0)
			read <- struct{}{}
			<-ended
			resp.Close()
			if err != nil || string(e.Data) != "1" {
				t.Fatalf("got %q, %v", e.Data, err)
			}
			resp.Release()
		}
		if n := up.conns.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
	})
	t.Run("a response closed before its end costs the connection", func(t *testing.T) {
		up := serve(t, once(func(p *peer) { p.say(okHead + "Content-Length: 4\r\n\r\n{}"); p.hold() }))
		p := newPool(t, wire.Options{})
		resp, err := p.Do(t.Context(), post(t, up, patience))
		if err != nil {
			t.Fatal(err)
		}
		resp.Close()
		if _, err := resp.ReadAll(0); err == nil {
			t.Error("a closed response reads as if it were whole")
		}
		if s := p.Stats(); s != (wire.Stats{}) {
			t.Errorf("left: %+v", s)
		}
		resp.Release()
	})
	t.Run("idle connections are bounded over all targets", func(t *testing.T) {
		p := newPool(t, wire.Options{MaxIdleAll: 2})
		for range 4 {
			must(t, p, post(t, answering(t, okAnswer), patience))
		}
		if s := p.Stats(); s != (wire.Stats{Open: 2, Idle: 2}) {
			t.Errorf("%+v", s)
		}
	})
	t.Run("idle connections are bounded in number and time", func(t *testing.T) {
		var together sync.WaitGroup
		together.Add(8)
		up := serve(t, func(p *peer) {
			for {
				if _, ok := p.request(); !ok {
					return
				}
				together.Done()
				together.Wait()
				p.say(okAnswer)
			}
		})
		p := newPool(t, wire.Options{MaxIdle: 3, IdleTimeout: 150 * time.Millisecond})
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { must(t, p, post(t, up, patience)) })
		}
		all.Wait()
		if s := p.Stats(); s.Open > 3 || s.Idle > 3 {
			t.Errorf("left: %+v", s)
		}
		eventually(t, "idle connections are closed", func() bool { return p.Stats() == wire.Stats{} })
	})
}

func TestQueue(t *testing.T) {
	next := make(chan string)
	up := serve(t, func(p *peer) {
		for {
			if _, ok := p.request(); !ok {
				return
			}
			answer := <-next
			p.say(answer)
			if answer == "" {
				return
			}
		}
	})
	setup := func(t *testing.T) (p *wire.Pool, results chan error, ask func(time.Duration)) {
		p = newPool(t, wire.Options{MaxConns: 1})
		results = make(chan error, 8)
		return p, results, func(d time.Duration) {
			before := p.Stats()
			go func() { _, _, _, err := call(t.Context(), p, post(t, up, d)); results <- err }()
			eventually(t, "the request is under way", func() bool { return p.Stats() != before })
		}
	}
	t.Run("requests beyond the limit wait for the connection", func(t *testing.T) {
		p, results, ask := setup(t)
		before := up.conns.Load()
		ask(patience)
		ask(patience)
		ask(patience)
		if s := p.Stats(); s != (wire.Stats{Open: 1, Waiting: 2}) {
			t.Errorf("%+v", s)
		}
		for range 3 {
			next <- okAnswer
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if n := up.conns.Load() - before; n != 1 {
			t.Errorf("%d connections", n)
		}
	})
	t.Run("one that waits too long has sent nothing", func(t *testing.T) {
		p, results, ask := setup(t)
		ask(patience)
		ask(hurry)
		if err := <-results; !errors.Is(err, wire.ErrDial) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		next <- okAnswer
		if err := <-results; err != nil {
			t.Error(err)
		}
		if s := p.Stats(); s != (wire.Stats{Open: 1, Idle: 1}) {
			t.Errorf("%+v", s)
		}
	})
	t.Run("the place of a broken connection goes to the next", func(t *testing.T) {
		p, results, ask := setup(t)
		ask(patience)
		ask(patience)
		next <- ""
		next <- okAnswer
		err1, err2 := <-results, <-results
		if err1 == nil {
			err1, err2 = err2, err1
		}
		if !errors.Is(err1, wire.ErrSent) || err2 != nil {
			t.Errorf("got %v, %v", err1, err2)
		}
		if s := p.Stats(); s != (wire.Stats{Open: 1, Idle: 1}) {
			t.Errorf("%+v", s)
		}
	})
	t.Run("a closed pool refuses", func(t *testing.T) {
		p := newPool(t, wire.Options{})
		p.Close()
		if _, _, _, err := call(t.Context(), p, post(t, up, patience)); !errors.Is(err, wire.ErrDial) {
			t.Errorf("got %v", err)
		}
	})
}

// Everybody gets the answer to the question he asked, whatever becomes of the
// connections.
func TestAnswersAreNotMixed(t *testing.T) {
	up := serve(t, func(p *peer) {
		for n := 0; ; n++ {
			body, ok := p.request()
			if !ok {
				return
			}
			switch n % 5 {
			case 0, 1:
				p.say(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", okHead, len(body), body))
			case 2:
				p.say(fmt.Sprintf("%s%s%x\r\n%s\r\n0\r\n\r\n", okHead, chunked, len(body), body))
			case 3:
				p.say(fmt.Sprintf("%s%s%x\r\ndata: %s\n\n\r\n", sseHead, chunked, len(body)+8, body))
				p.say("0\r\n\r\n")
			case 4:
				p.say(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%sHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong", okHead, len(body), body))
				io.Copy(io.Discard, p.in)
				return
			}
		}
	})
	p := newPool(t, wire.Options{MaxConns: 16})
	var all sync.WaitGroup
	var lost atomic.Int32
	for who := range 20 {
		all.Go(func() {
			for i := range 100 {
				want := fmt.Sprintf(`{"who":%d,"i":%d,"fill":"%s"}`, who, i, strings.Repeat("x", (who*i*37)%9000))
				r := post(t, up, patience)
				r.Body = [][]byte{[]byte(want)}
				switch _, _, got, err := call(t.Context(), p, r); {
				case errors.Is(err, wire.ErrSent):
					lost.Add(1) // the upstream hung up in the moment the request left
				case err != nil || got != want:
					t.Errorf("got %.40q, %v; want %.40q", got, err, want)
				}
			}
		})
	}
	all.Wait()
	if lost.Load() > 20 {
		t.Errorf("%d answers lost", lost.Load())
	}
}
