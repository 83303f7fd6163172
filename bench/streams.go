package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	idleStreams   = "idle streams"
	legacyStreams = idleStreams + ", 2025"
	modernStreams = idleStreams + ", 2026"

	manyStreams = 10_000
	perKey      = 1000 // streams that one key may have open
)

// idle is a client that only listens.
type idle struct {
	conn net.Conn
	in   *bufio.Reader
}

// measureStreams measures what Headgate keeps for clients that listen and hear
// nothing: with a session and a GET, then, in a process of its own again, with a
// subscription of 2026. At the end the server tells them all something, and all
// must hear it.
func measureStreams(b *bench) error {
	if b.full == nil {
		return nil
	}
	n := manyStreams
	if b.quick {
		n /= 5
	}
	n = min(n, raiseFiles(manyStreams+2000)-2000) / perKey * perKey
	if n <= 0 {
		b.note("too few descriptors (ulimit -n) for idle streams: no rows for them")
		return nil
	}
	upstream, addr, err := b.part("raw upstream", "legacy")
	if err != nil {
		return err
	}
	h, err := b.headgate("headgate-streams", []string{"--max-connections", "20000"}, nil, addr)
	if err != nil {
		return err
	}
	defer h.process.stop()
	keys, err := h.keys(b.ctx, n/perKey)
	if err != nil {
		return err
	}
	for _, kind := range []string{legacyStreams, modernStreams} {
		if _, err := h.firstCall(b.ctx, &b.wrong); err != nil {
			return err
		}
		t := h.target
		t.modern = kind == modernStreams
		if err := b.streams(kind, &t, upstream, keys); err != nil {
			return h.process.failed(err)
		}
	}
	b.note("%d idle streams of each era", n)
	return nil
}

// streams opens as many streams as the keys may have, weighs them, and checks
// that they are alive.
func (b *bench) streams(kind string, t *target, upstream *process, keys []string) error {
	// What the first ones need is there before it is measured.
	all, err := listeners(t, keys, 2)
	defer func() {
		for _, s := range all {
			_ = s.conn.Close()
		}
	}()
	if err != nil {
		return err
	}
	before := b.settled(t.process)
	some, err := listeners(t, keys, perKey-2)
	if all = append(all, some...); err != nil {
		return err
	}
	b.values[kind] = append(b.values[kind], (b.settled(t.process)-before)*1024/float64(len(some)))
	if told, err := upstream.ask(tellAll); err != nil || told == 0 {
		return errors.Join(errors.New("nobody listens to the upstream"), err)
	}
	for _, s := range all {
		if err := s.hear("notifications/tools/list_changed"); err != nil {
			b.wrong.lost.Add(1)
		}
	}
	return nil
}

// listeners opens streams, each with every key, some at a time.
func listeners(t *target, keys []string, each int) (all []*idle, err error) {
	const workers = 8
	var mu sync.Mutex
	var wg sync.WaitGroup
	jobs := make(chan string)
	for range workers {
		wg.Go(func() {
			for key := range jobs {
				own := *t
				own.key = key
				s, failed := own.listen()
				mu.Lock()
				if failed != nil {
					err = fmt.Errorf("open a stream: %w", failed)
				} else {
					all = append(all, s)
				}
				mu.Unlock()
			}
		})
	}
	for i := range each * len(keys) {
		jobs <- keys[i%len(keys)]
	}
	close(jobs)
	wg.Wait()
	return all, err
}

// listen opens a stream as a client of the target's era does.
func (t *target) listen() (*idle, error) {
	c, err := dial(t.addr)
	if err != nil {
		return nil, err
	}
	s := &idle{conn: c.conn, in: bufio.NewReaderSize(c.conn, 512)}
	c.in = s.in
	if err := t.subscribe(c); err != nil {
		_ = c.conn.Close()
		return nil, err
	}
	return s, nil
}

func (t *target) subscribe(c *client) error {
	session, err := t.begin(c)
	if err != nil {
		return err
	}
	req := t.request(session, question{method: "subscriptions/listen"})
	var body string
	if t.modern {
		body = `{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen","params":{` + modernMeta + `,"notifications":{"toolsListChanged":true}}}`
	} else {
		req.Method = http.MethodGet
		req.Header.Set("Accept", "text/event-stream")
		req.Header.Del("Content-Type")
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s %s HTTP/1.1\r\nHost: %s\r\n", req.Method, t.path, t.addr)
	if t.modern { // clients say no length with a GET
		fmt.Fprintf(&out, "Content-Length: %d\r\n", len(body))
	}
	if err := req.Header.Write(&out); err != nil {
		return err
	}
	out.WriteString("\r\n" + body)
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := c.conn.Write(out.Bytes()); err != nil {
		return err
	}
	status, err := c.in.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.Contains(status, " 200 ") {
		return fmt.Errorf("a stream was refused: %s", strings.TrimSpace(status))
	}
	for { // the rest of the head
		line, err := c.in.ReadString('\n')
		if err != nil {
			return err
		}
		if line == "\r\n" {
			return nil
		}
	}
}

// hear reads the stream until a word comes.
func (s *idle) hear(word string) error {
	if err := s.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.Contains(line, word) {
			return nil
		}
	}
}

// settled returns the memory of a process in MiB once it has stopped changing
// much, as it is when nothing goes on.
func (b *bench) settled(p *process) float64 {
	last, since := p.rss(), time.Now()
	_ = until(b.ctx, 15*time.Second, func() bool {
		if now := p.rss(); now > last*1.01 || now < last*0.99 {
			last, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
	return p.rss()
}

// raiseFiles asks for room for n descriptors, here and in what is started from
// now on, and returns for how many there is.
func raiseFiles(n int) int {
	var lim syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 0
	}
	want := syscall.Rlimit{Cur: max(lim.Cur, uint64(n)), Max: max(lim.Max, uint64(n))}
	if syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want) != nil {
		want = syscall.Rlimit{Cur: lim.Max, Max: lim.Max} // more than we may have
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &want)
	}
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &lim); err != nil {
		return 0
	}
	return int(min(lim.Cur, 1<<20))
}
