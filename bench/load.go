package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/testkit/rawmcp"
)

// tally counts what must never happen.
type tally struct{ mixed, lost, repeated atomic.Int64 }

func (t *tally) total() int64 { return t.mixed.Load() + t.lost.Load() + t.repeated.Load() }

func (t *tally) String() string {
	return fmt.Sprintf("%d wrong or mixed up, %d lost, %d repeated", t.mixed.Load(), t.lost.Load(), t.repeated.Load())
}

// number is in each request twice, as its id and in its text, always of the
// same length. It is unique in a run, so an answer belongs to one question.
var number atomic.Int64

const (
	firstNumber = 1_000_000_000_000_000 // and all that follow are safe integers for JavaScript, too
	blank       = "0000000000000000"
)

// question is what callers ask: a body with blanks for the number, and the
// check of an answer to it.
type question struct {
	method, name string
	body         string
	check        func(k *caller, body []byte) bool
}

// of returns the question as a target's callers ask it.
func (q question) of(t *target) question {
	if t.modern {
		q.body = strings.Replace(q.body, `"params":{`, `"params":{`+modernMeta+`,`, 1)
	}
	return q
}

// echoOf is a call of the echo tool with a text of that size.
func echoOf(tool string, size int) question {
	text := blank + strings.Repeat("x", max(0, size-len(blank)))
	return question{
		method: "tools/call", name: tool,
		body: `{"jsonrpc":"2.0","id":` + blank + `,"method":"tools/call","params":{"name":"` + tool + `","arguments":{"text":"` + text + `"}}}`,
		check: func(k *caller, body []byte) bool {
			if data, ok := bytes.CutPrefix(body, []byte("event: message\ndata: ")); ok {
				body = data
			}
			first, ok := bytes.CutPrefix(rawmcp.Member(rawmcp.Member(body, "result"), "content"), []byte("["))
			return ok && bytes.Equal(rawmcp.Member(body, "id"), k.id) &&
				bytes.Equal(rawmcp.Text(rawmcp.Member(first, "text")), k.text())
		},
	}
}

// listOf asks for a list or anything else whose answer differs by its id alone.
func listOf(method string) question {
	return question{
		method: method,
		body:   `{"jsonrpc":"2.0","id":` + blank + `,"method":"` + method + `"}`,
		check: func(k *caller, body []byte) bool {
			id := rawmcp.Member(body, "id")
			if !bytes.Equal(id, k.id) {
				return false
			}
			copy(id, blank)
			if k.seen == nil {
				k.seen = bytes.Clone(body)
			}
			return bytes.Contains(body, []byte(`"result":`)) && bytes.Equal(k.seen, body)
		},
	}
}

// caller makes one call after the other on a connection and session of its own.
type caller struct {
	target  *target
	client  *client
	session string

	q       question
	request *http.Request
	body    []byte
	blanks  []int  // where in body the number goes
	id      []byte // the number as it was sent last
	seen    []byte // the first answer, for listOf
	times   []time.Duration
}

// prepare sets what the caller asks.
func (k *caller) prepare(q question) {
	k.q, k.seen = q, nil
	k.request, k.body = k.target.request(k.session, q), []byte(q.of(k.target).body)
	k.blanks = k.blanks[:0]
	for at := 0; ; at += len(blank) {
		i := bytes.Index(k.body[at:], []byte(blank))
		if i < 0 {
			return
		}
		at += i
		k.blanks = append(k.blanks, at)
	}
}

// text is the text of the echo call as it was sent.
func (k *caller) text() []byte {
	if len(k.blanks) < 2 {
		return nil
	}
	i := k.blanks[1]
	return k.body[i : i+bytes.IndexByte(k.body[i:], '"')]
}

// call makes one call and notes how long it took. It reports false when the
// caller cannot go on.
func (k *caller) call(wrong *tally, start time.Time) bool {
	k.id = strconv.AppendInt(k.id[:0], firstNumber+number.Add(1), 10)
	for _, at := range k.blanks {
		copy(k.body[at:], k.id)
	}
	status, _, body, err := k.client.exchange(k.request, k.body)
	k.times = append(k.times, time.Since(start))
	switch {
	case err != nil:
		wrong.lost.Add(1)
		return k.reopen() == nil
	case status != 200 || !k.q.check(k, body):
		wrong.mixed.Add(1)
	}
	return true
}

func (k *caller) reopen() error {
	if k.client != nil {
		_ = k.client.conn.Close()
	}
	var err error
	k.client, k.session, err = k.target.open()
	if err == nil && k.q.body != "" {
		k.prepare(k.q)
	}
	return err
}

// end ends the session and the connection, as a client does that has done its
// work.
func (k *caller) end() error {
	req := k.target.request(k.session, question{})
	req.Method = http.MethodDelete
	status, _, body, err := k.client.exchange(req, nil)
	if err == nil && status/100 != 2 {
		err = fmt.Errorf("status %d: %.300s", status, body)
	}
	return errors.Join(err, k.client.conn.Close())
}

// closeAll ends the callers' connections.
func closeAll(callers []*caller) {
	for _, k := range callers {
		_ = k.client.conn.Close()
	}
}

// sample is one round against one target.
type sample struct {
	calls    int
	rate     float64 // calls per second
	p50, p99 time.Duration
	cpu      float64 // milliseconds of the target's processor time per call
	load     float64 // the same of the callers', which are this process
}

// closed has every caller call again as soon as it has its answer.
func closed(ctx context.Context, callers []*caller, wrong *tally, d time.Duration) sample {
	start := time.Now()
	end := start.Add(d)
	var all sync.WaitGroup
	for _, k := range callers {
		k.times = k.times[:0]
		all.Go(func() {
			for now := time.Now(); now.Before(end) && ctx.Err() == nil; now = time.Now() {
				if !k.call(wrong, now) {
					return
				}
			}
		})
	}
	all.Wait()
	return summary(callers, time.Since(start))
}

// open has calls begin at a steady rate, whether others have ended or not. A
// call that had to wait for its caller's last one is timed from when it was
// due; one whose caller merely woke up late, from then: that is our own delay.
func open(ctx context.Context, callers []*caller, wrong *tally, rate int, d time.Duration) sample {
	start := time.Now()
	gap := time.Second / time.Duration(rate)
	var all sync.WaitGroup
	for i, k := range callers {
		k.times = k.times[:0]
		all.Go(func() {
			for slot := i; ; slot += len(callers) {
				due := start.Add(time.Duration(slot) * gap)
				if due.Sub(start) > d || ctx.Err() != nil {
					return
				}
				if wait := time.Until(due); wait > 0 {
					time.Sleep(wait)
					due = time.Now()
				}
				if !k.call(wrong, due) {
					return
				}
			}
		})
	}
	all.Wait()
	return summary(callers, time.Since(start))
}

func summary(callers []*caller, took time.Duration) sample {
	var times []time.Duration
	for _, k := range callers {
		times = append(times, k.times...)
	}
	if len(times) == 0 {
		return sample{}
	}
	slices.Sort(times)
	return sample{
		calls: len(times),
		rate:  float64(len(times)) / took.Seconds(),
		p50:   times[len(times)/2],
		p99:   times[len(times)*99/100],
	}
}
