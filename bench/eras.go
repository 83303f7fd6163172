package main

import (
	"context"
	"time"
)

const (
	crossEra   = "eras, 16 callers, 64 B"
	newSession = "new sessions"

	legacyToLegacy = "2025 to 2025" // the revision of the client, then that of the server
	legacyToModern = "2025 to 2026"
	modernToLegacy = "2026 to 2025"
	modernToModern = "2026 to 2026"
)

var cells = map[string]map[string]string{
	"legacy": {"legacy": legacyToLegacy, "modern": legacyToModern},
	"modern": {"legacy": modernToLegacy, "modern": modernToModern},
}

// measureEras measures what a call costs Headgate when client and server speak
// different eras, storing off: what is stored is the same, and would hide it.
func measureEras(b *bench) error {
	if b.off == nil {
		return nil
	}
	var targets []*target
	for _, server := range []string{"legacy", "modern"} {
		p, addr, err := b.part("raw upstream", server)
		if err != nil {
			return err
		}
		if err := b.off.register(b.ctx, server, addr); err != nil {
			return err
		}
		for _, client := range []string{"legacy", "modern"} {
			t := b.off.target
			t.name = cells[client][server]
			t.path, t.tool, t.upstream, t.modern = "/mcp/"+server, "echo", p, client == "modern"
			targets = append(targets, &t)
			defer b.dismiss(&t)
		}
	}
	return b.alternate(crossEra, targets, func(t *target) (sample, error) {
		callers, err := b.crew(t, 16, echoOf(t.tool, 64))
		if err != nil {
			return sample{}, err
		}
		return b.sample(t, func(d time.Duration) sample { return closed(b.ctx, callers, &b.wrong, d) })
	})
}

// measureSessions measures what a client waits for from its connection to the
// answer of its first call: behind Headgate that is two handshakes, the
// client's and the server's.
func measureSessions(b *bench) error {
	targets := []*target{b.target(direct)}
	if b.full != nil {
		targets = append(targets, &b.full.target)
	}
	return b.alternate(newSession, targets, func(t *target) (sample, error) {
		return b.sample(t, func(d time.Duration) sample { return beginnings(b.ctx, t, &b.wrong, d) })
	})
}

// beginnings begins sessions one after the other, each on a connection of its
// own and with one call, and ends them; the end is not timed.
func beginnings(ctx context.Context, t *target, wrong *tally, d time.Duration) sample {
	start := time.Now()
	k := &caller{target: t, q: echoOf(t.tool, 64)}
	for now := start; now.Sub(start) < d && ctx.Err() == nil; now = time.Now() {
		if err := k.reopen(); err != nil {
			wrong.lost.Add(1)
			break
		}
		k.call(wrong, now)
		if err := k.end(); err != nil {
			wrong.lost.Add(1)
		}
	}
	return summary([]*caller{k}, time.Since(start))
}
