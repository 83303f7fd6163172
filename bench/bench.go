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
	rounds      int
	round, warm time.Duration

	dir       string
	processes []*process
	upstream  *process
	targets   []*target
	full      *headgate // the durable one on SQLite, nil without Headgate
	stdio     *target   // the same one's server that is a program, once there is one
	callers   map[*target][]*caller

	results map[key][]sample
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
	if b.upstream, addr, err = self(b.dir, "upstream"); err != nil {
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
	if b.full, err = newHeadgate(b.ctx, "headgate", binary, b.dir, upstream, nil, nil); err != nil {
		return err
	}
	b.full.name = durable
	b.add(b.full.process, &b.full.target)
	off, err := newHeadgate(b.ctx, "headgate-off", binary, b.dir, upstream, nil, []string{"HEADGATE_BENCH_NO_STORE=1"})
	if err != nil {
		return err
	}
	off.name = noStore
	b.add(off.process, &off.target)
	cluster, url, err := durablePostgres(b.ctx, root)
	if errors.Is(err, postgres.ErrMissing) {
		b.note("PostgreSQL is not installed: no row for it")
		return nil
	}
	if err != nil {
		return err
	}
	b.cluster = cluster
	pg, err := newHeadgate(b.ctx, "headgate-pg", binary, b.dir, upstream, []string{"--database", url}, nil)
	if err != nil {
		return err
	}
	pg.name = onPG
	b.add(pg.process, &pg.target)
	return nil
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
	if b.full != nil {
		b.full.process.stop() // it may have been started again
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

// arrived asks the upstream how many tools/call it has seen.
func (b *bench) arrived() (int64, error) {
	if _, err := b.upstream.in.Write([]byte("\n")); err != nil {
		return 0, err
	}
	line, err := b.upstream.out.ReadString('\n')
	if err != nil {
		return 0, b.upstream.failed(err)
	}
	return strconv.ParseInt(strings.TrimSpace(line), 10, 64)
}

// sample runs a load once to warm up and once to measure, and checks that the
// upstream saw each call once.
func (b *bench) sample(t *target, load func(d time.Duration) sample) (sample, error) {
	before, err := b.arrived()
	if err != nil {
		return sample{}, err
	}
	warm := load(b.warm)
	cpu := t.process.cpu()
	s := load(b.round)
	s.cpu = (t.process.cpu() - cpu).Seconds() * 1000 / max(1, float64(s.calls))
	after, err := b.arrived()
	if more := after - before - int64(warm.calls+s.calls); more > 0 {
		b.wrong.repeated.Add(more)
	}
	return s, err
}
