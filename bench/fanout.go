package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

const (
	fanLists    = "tools/list over 20 servers"
	fanSessions = "initialize over 20 servers"
	fanCold     = "first tools/list after a start"
	allWell     = "20 servers"
	oneHung     = "20 servers, one hung"

	fanned    = 20
	fanTools  = 20 // of each
	hungTools = fanTools
)

// hung listens like a server that has died in the middle: it takes connections
// and requests, and answers none.
func hung() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
	return l, nil
}

// measureFanOut measures a merged endpoint over twenty servers, beside another
// with one of them hung: nobody should notice.
func measureFanOut(b *bench) error {
	if b.full == nil {
		return nil
	}
	_, addr, err := b.part("raw upstream", "both", strconv.Itoa(fanTools))
	if err != nil {
		return err
	}
	dead, err := hung()
	if err != nil {
		return err
	}
	defer dead.Close()
	var all []*headgate
	for _, name := range []string{allWell, oneHung} {
		h, err := b.headgate("headgate-fan-"+strconv.Itoa(len(all)), nil, nil, "")
		if err != nil {
			return err
		}
		defer h.process.stop()
		h.name = name
		for i := range fanned {
			at := addr
			if name == oneHung && i == fanned/2 {
				at = dead.Addr().String()
			}
			if err := h.register(b.ctx, fmt.Sprintf("s%02d", i), at); err != nil {
				return err
			}
		}
		all = append(all, h)
	}
	for range (b.rounds + 1) / 2 { // each waits for a start and a second
		for _, h := range all {
			took, err := b.firstList(h)
			if err != nil {
				return fmt.Errorf("%s: %w", h.name, err)
			}
			b.values[fanCold+h.name] = append(b.values[fanCold+h.name], took.Seconds()*1000)
		}
	}
	targets := []*target{&all[0].target, &all[1].target}
	defer b.dismiss(targets[0])
	defer b.dismiss(targets[1])
	if err := b.alternate(fanLists, targets, func(t *target) (sample, error) {
		callers, err := b.crew(t, 4, listOf("tools/list"))
		if err != nil {
			return sample{}, err
		}
		return b.sample(t, func(d time.Duration) sample { return closed(b.ctx, callers, &b.wrong, d/2) })
	}); err != nil {
		return err
	}
	return b.alternate(fanSessions, targets, func(t *target) (sample, error) {
		return b.sample(t, func(d time.Duration) sample { return handshakes(b, t, d/2) })
	})
}

// firstList starts a Headgate anew and returns how long the first list took,
// once a session had begun.
func (b *bench) firstList(h *headgate) (time.Duration, error) {
	h.process.stop()
	if err := h.start(); err != nil {
		return 0, err
	}
	k := &caller{target: &h.target}
	if err := until(b.ctx, time.Minute, func() bool { return k.reopen() == nil }); err != nil {
		return 0, h.process.failed(fmt.Errorf("no session after a restart: %w", err))
	}
	defer closeAll([]*caller{k})
	k.prepare(listOf("tools/list"))
	start := time.Now()
	k.call(&b.wrong, start)
	took := time.Since(start)
	return took, k.complete(h.name == oneHung)
}

// complete checks that a merged list has the tools of every server that is
// well, and names the one that is not.
func (k *caller) complete(missing bool) error {
	want, named := fanned*fanTools, bytes.Contains(k.seen, []byte(`"headgate/missing":[{"reason":`))
	if missing {
		want -= hungTools
	}
	n := bytes.Count(k.seen, []byte(`"name":"s`))
	switch {
	case n != want:
		return fmt.Errorf("the list has %d tools, want %d", n, want)
	case named != missing:
		return errors.New("the list does not name what is missing, or something that is not")
	}
	return nil
}

// handshakes begins sessions one after the other, without calls.
func handshakes(b *bench, t *target, d time.Duration) sample {
	start := time.Now()
	k := &caller{target: t}
	for now := start; now.Sub(start) < d && b.ctx.Err() == nil; now = time.Now() {
		if err := k.reopen(); err != nil {
			b.wrong.lost.Add(1)
			break
		}
		k.times = append(k.times, time.Since(now))
		if err := k.end(); err != nil {
			b.wrong.lost.Add(1)
		}
	}
	return summary([]*caller{k}, time.Since(start))
}
