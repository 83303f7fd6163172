package postgres

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"headgate/internal/testkit/flock"
)

// User is the cluster's superuser. It has no password: the socket is its
// owner's alone.
const User = "postgres"

// Options choose a cluster. Clusters of different options live side by side.
type Options struct {
	// Durable keeps fsync on: what the ledger promises, at the price of time.
	Durable bool
	// Idle is how long the cluster waits for its next user; 0 means 20 s.
	Idle time.Duration
}

// Cluster is a running server this process may use until Close.
type Cluster struct {
	dir  place
	user *flock.Lock
}

// place is where a cluster lives: locks and the log in it, and under pg/, which
// belongs to the server's account, the data and the socket.
type place string

func (p place) pg() string       { return filepath.Join(string(p), "pg") }
func (p place) data() string     { return filepath.Join(string(p), "pg", "data") }
func (p place) socket() string   { return filepath.Join(string(p), "pg", ".s.PGSQL.5432") }
func (p place) log() string      { return filepath.Join(string(p), "log") }
func (p place) users() string    { return filepath.Join(string(p), "users.lock") }
func (p place) starting() string { return filepath.Join(string(p), "start.lock") }
func (p place) watching() string { return filepath.Join(string(p), "watchdog.lock") }

// Start returns the cluster that the processes of this user and checkout share,
// and starts it when it does not run. ErrMissing means that there is nothing to
// start. checkout is any string that names the checkout.
func Start(ctx context.Context, checkout string, o Options) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	p, err := home(checkout, o)
	if err != nil {
		return nil, err
	}
	user, err := flock.Shared(ctx, p.users())
	if err != nil {
		return nil, err
	}
	if err := p.ensure(ctx, o); err != nil {
		user.Unlock()
		return nil, err
	}
	return &Cluster{p, user}, nil
}

// URL returns the connection URL of one of the cluster's databases.
func (c *Cluster) URL(database string) string {
	return "postgres://" + User + "@/" + database + "?host=" + url.QueryEscape(c.dir.pg()) + "&port=5432"
}

// Close says that this process needs the cluster no longer. The watchdog ends
// it when nobody does.
func (c *Cluster) Close() { c.user.Unlock() }

// home makes the directory of the cluster. Its name can be guessed and the
// temporary directory is everybody's, so a directory of somebody else is refused.
func home(checkout string, o Options) (place, error) {
	base := scratch()
	if o.Durable {
		base = os.TempDir()
		checkout += " durable"
	}
	sum := sha256.Sum256([]byte(checkout))
	dir := filepath.Join(base, fmt.Sprintf("headgate-pg-%d-%x", os.Geteuid(), sum[:5]))
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return "", err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s is not a directory of ours: remove it", dir)
	}
	return place(dir), nil
}

// ensure starts the server unless it runs. Starters take turns.
func (p place) ensure(ctx context.Context, o Options) error {
	turn, err := flock.Exclusive(ctx, p.starting())
	if err != nil {
		return err
	}
	defer turn.Unlock()
	if p.watched() && p.answers() {
		return nil
	}
	bin, err := Find(ctx)
	if err != nil {
		return err
	}
	as, err := unprivileged()
	if err != nil {
		return err
	}
	if err := p.clear(ctx); err != nil {
		return err
	}
	if err := as.own(p.pg()); err != nil {
		return err
	}
	if err := initdb(ctx, bin, p.data(), as); err != nil {
		return err
	}
	watchdog, err := p.watch(bin, as, o)
	if err != nil {
		return fmt.Errorf("start the watchdog: %w", err)
	}
	return p.ready(ctx, watchdog)
}

// watched reports whether a watchdog lives. One that does not stop the server
// in its time would leave it behind, so a server without one is not used.
func (p place) watched() bool {
	l, err := flock.TryExclusive(p.watching())
	if l != nil {
		l.Unlock()
	}
	return l == nil && err == nil
}

// answers reports whether the server says it is ready and takes connections.
func (p place) answers() bool {
	if p.pidfile(7) != "ready" {
		return false
	}
	c, err := net.DialTimeout("unix", p.socket(), time.Second)
	if err != nil {
		return false
	}
	return c.Close() == nil
}

// pidfile returns a line of the server's pid file: 0 is the process id, 7 the state.
func (p place) pidfile(line int) string {
	text, err := os.ReadFile(filepath.Join(p.data(), "postmaster.pid"))
	lines := strings.Split(string(text), "\n")
	if err != nil || line >= len(lines) {
		return ""
	}
	return strings.TrimSpace(lines[line])
}

// ready waits until the server answers, or its watchdog has given up.
func (p place) ready(ctx context.Context, watchdog <-chan error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !p.answers() {
		select {
		case <-tick.C:
		case err := <-watchdog:
			return p.failed(fmt.Errorf("PostgreSQL did not start (%v)", err))
		case <-ctx.Done():
			return p.failed(fmt.Errorf("PostgreSQL did not get ready: %w", ctx.Err()))
		}
	}
	return nil
}

// failed adds the end of the server's log to an error.
func (p place) failed(err error) error {
	text, _ := os.ReadFile(p.log())
	if len(text) > 2000 {
		text = text[len(text)-2000:]
	}
	return fmt.Errorf("%w; the end of its log:\n%s", err, text)
}

// clear ends what is left of an earlier cluster and removes its files. A
// watchdog on its way out holds its lock until it has done so itself.
func (p place) clear(ctx context.Context) error {
	free, err := flock.Exclusive(ctx, p.watching())
	if err != nil {
		return err
	}
	defer free.Unlock()
	if pid, err := strconv.Atoi(p.pidfile(0)); err == nil && pid > 1 && p.takes() {
		_ = syscall.Kill(pid, syscall.SIGQUIT)
		for p.takes() && ctx.Err() == nil {
			time.Sleep(20 * time.Millisecond)
		}
	}
	return os.RemoveAll(p.pg())
}

// takes reports whether somebody listens on the socket: only then is the
// process id in the pid file that of a server and not of a stranger.
func (p place) takes() bool {
	c, err := net.DialTimeout("unix", p.socket(), time.Second)
	if err == nil {
		_ = c.Close()
	}
	return err == nil
}
