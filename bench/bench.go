package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"headgate/internal/testkit/postgres"
)

// bench holds what runs and what was measured.
type bench struct {
	ctx         context.Context
	quick       bool
	lean        bool // the upstream is the raw one
	some        bool // not every measurement was asked for
	rounds      int
	round, warm time.Duration

	dir       string
	binary    string // Headgate's
	processes []*process
	headgates []*headgate // these may be started again
	upstream  *process
	targets   []*target
	full      *headgate // the durable one on SQLite, nil without Headgate
	off       *headgate // the one that stores nothing
	stdio     *target   // the same one's server that is a program, once there is one
	callers   map[*target][]*caller

	results map[key][]sample
	order   []key                // of the results, as they came
	values  map[string][]float64 // what is no round of calls
	cluster *postgres.Cluster    // kept, so that it is not stopped under us
	notes   []string
	wrong   tally
}

// key names a measurement of a target.
type key struct{ measurement, target string }

// The targets.
const (
	direct   = "direct"
	nginxed  = "nginx"
	proxied  = "reverse proxy"
	durable  = "headgate"
	noStore  = "headgate, storing off"
	onPG     = "headgate, PostgreSQL"
	copyOnly = "copying"
)

// start builds and starts everything.
func (b *bench) start(withHeadgate bool) (err error) {
	if _, err := os.Stat("go.mod"); err != nil {
		return errors.New("run it in the root of the checkout: make bench")
	}
	root, err := filepath.Abs(".")
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "headgate-bench-"); err != nil {
		return err
	}
	var addr string
	part := "upstream"
	if b.lean {
		part = "raw upstream"
		b.note("the upstream is the leaner one (-lean): the bars of direct were not set with it")
	}
	if b.upstream, addr, err = self(b.dir, part); err != nil {
		return err
	}
	b.add(b.upstream, &target{name: direct, addr: addr, path: "/mcp", tool: "echo"})
	switch p, at, err := nginx(b.dir, addr); {
	case errors.Is(err, errNoNginx):
		b.note("nginx is not installed: no row for it")
	case err != nil:
		return err
	default:
		b.add(p, &target{name: nginxed, addr: at, path: "/mcp", tool: "echo"})
		if err := until(b.ctx, 5*time.Second, func() bool { return answers(b.target(nginxed)) }); err != nil {
			return p.failed(err)
		}
	}
	p, at, err := self(b.dir, "proxy", "http://"+addr)
	if err != nil {
		return err
	}
	b.add(p, &target{name: proxied, addr: at, path: "/mcp", tool: "echo"})
	if !withHeadgate {
		b.note("Headgate was left out")
		return nil
	}
	return b.startHeadgates(root, addr)
}

// startHeadgates starts one Headgate per store. A measurement alternates
// between all of them; those that wait cost next to nothing.
func (b *bench) startHeadgates(root, upstream string) error {
	binary, err := build(b.ctx, root, b.dir)
	if err != nil {
		return err
	}
	b.binary = binary
	if b.full, err = b.headgate("headgate", nil, nil, upstream); err != nil {
		return err
	}
	b.full.name = durable
	b.targets = append(b.targets, &b.full.target)
	if b.off, err = b.headgate("headgate-off", nil, []string{"HEADGATE_BENCH_NO_STORE=1"}, upstream); err != nil {
		return err
	}
	b.off.name = noStore
	b.targets = append(b.targets, &b.off.target)
	if b.cluster, err = durablePostgres(b.ctx, root); errors.Is(err, postgres.ErrMissing) {
		b.note("PostgreSQL is not installed: no rows for it")
		return nil
	}
	if err != nil {
		return err
	}
	url, err := freshDatabase(b.ctx, b.cluster, "calls")
	if err != nil {
		return err
	}
	pg, err := b.headgate("headgate-pg", []string{"--database", url}, nil, upstream)
	if err != nil {
		return err
	}
	pg.name = onPG
	b.targets = append(b.targets, &pg.target)
	return nil
}

// headgate starts a Headgate in front of the upstream, which it knows as bench;
// "" registers none.
func (b *bench) headgate(name string, args, env []string, upstream string) (*headgate, error) {
	h, err := newHeadgate(b.ctx, name, b.binary, b.dir, args, env)
	if err != nil {
		return nil, err
	}
	b.headgates = append(b.headgates, h)
	if upstream == "" {
		return h, nil
	}
	return h, h.register(b.ctx, "bench", upstream)
}

// part starts this program once more as one of its parts.
func (b *bench) part(name string, args ...string) (*process, string, error) {
	p, addr, err := self(b.dir, name, args...)
	if err == nil {
		b.processes = append(b.processes, p)
	}
	return p, addr, err
}

func (b *bench) add(p *process, t *target) {
	t.process = p
	b.processes = append(b.processes, p)
	b.targets = append(b.targets, t)
}

func (b *bench) note(format string, args ...any) {
	b.notes = append(b.notes, fmt.Sprintf(format, args...))
}

func (b *bench) target(name string) *target {
	i := slices.IndexFunc(b.targets, func(t *target) bool { return t.name == name })
	if i < 0 {
		return nil
	}
	return b.targets[i]
}

// stop ends what was started, the upstream last.
func (b *bench) stop() {
	for _, callers := range b.callers {
		closeAll(callers)
	}
	for _, h := range b.headgates {
		h.process.stop()
	}
	for _, p := range slices.Backward(b.processes) {
		p.stop()
	}
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

// answers reports whether a session with a target can begin.
func answers(t *target) bool {
	c, _, err := t.open()
	if err == nil {
		_ = c.conn.Close()
	}
	return err == nil
}

// crew returns n callers of a target, connected once and kept for all rounds.
func (b *bench) crew(t *target, n int, q question) ([]*caller, error) {
	for len(b.callers[t]) < n {
		k := &caller{target: t}
		if err := k.reopen(); err != nil {
			return nil, err
		}
		b.callers[t] = append(b.callers[t], k)
	}
	callers := b.callers[t][:n]
	for _, k := range callers {
		k.prepare(q)
	}
	return callers, nil
}

// dismiss ends the connections to a target.
func (b *bench) dismiss(t *target) {
	closeAll(b.callers[t])
	delete(b.callers, t)
}

// ask sends an upstream a command of upstreamCommands and returns the number it
// answers with.
func (p *process) ask(command string) (int64, error) {
	if _, err := p.in.Write([]byte(command + "\n")); err != nil {
		return 0, err
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return 0, p.failed(err)
	}
	return strconv.ParseInt(strings.TrimSpace(line), 10, 64)
}

// sample runs a load once to warm up and once to measure, and checks that the
// upstream saw each call once.
func (b *bench) sample(t *target, load func(d time.Duration) sample) (sample, error) {
	upstream := t.upstream
	if upstream == nil {
		upstream = b.upstream
	}
	before, err := upstream.ask(countCalls)
	if err != nil {
		return sample{}, err
	}
	warm := load(b.warm)
	cpu, own := t.process.cpu(), ownCPU()
	s := load(b.round)
	calls := max(1, float64(s.calls))
	s.cpu, s.load = (t.process.cpu()-cpu).Seconds()*1000/calls, (ownCPU()-own).Seconds()*1000/calls
	after, err := upstream.ask(countCalls)
	if more := after - before - int64(warm.calls+s.calls); more > 0 {
		b.wrong.repeated.Add(more)
	}
	return s, err
}
