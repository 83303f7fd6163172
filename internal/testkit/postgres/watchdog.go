package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"headgate/internal/testkit/flock"
)

// watchdogEnv holds a watch as JSON in the environment of a watchdog.
const watchdogEnv = "HEADGATE_TESTKIT_WATCHDOG"

// watch is what a watchdog is told.
type watch struct {
	Place   place
	Bin     string
	As      *owner
	Durable bool
	Idle    time.Duration
}

// The watchdog is this same program, started once more: whatever imports the
// package carries it, a test binary as well as the benchmark, and nothing has
// to be built or installed for it. It must begin before the program does.
func init() {
	text := os.Getenv(watchdogEnv)
	if text == "" {
		return
	}
	var w watch
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		fmt.Fprintln(os.Stderr, "watchdog:", err)
		os.Exit(2)
	}
	if err := w.run(); err != nil {
		fmt.Fprintln(os.Stderr, "watchdog:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// watch starts a watchdog in a session of its own, so that neither Ctrl-C nor
// the end of the test binary reaches it. The channel tells when it has ended.
func (p place) watch(bin string, as *owner, o Options) (<-chan error, error) {
	w := watch{Place: p, Bin: bin, As: as, Durable: o.Durable, Idle: cmp.Or(o.Idle, 20*time.Second)}
	text, err := json.Marshal(w)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(p.log())
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), watchdogEnv+"="+string(text))
	cmd.Dir = string(p)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	return ended, nil
}

// run is the watchdog's life: start the server, wait until nobody has used it
// for a while or the server has ended by itself, leave nothing behind.
func (w watch) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	start, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	alive, err := flock.Exclusive(start, w.Place.watching())
	if err != nil {
		return err
	}
	defer alive.Unlock()

	server := w.server()
	if err := server.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Wait() }()
	unused, err := w.unused(ctx, ended)
	if unused != nil {
		defer unused.Unlock() // held until the files are gone, so that nobody joins a dying cluster
	}
	if err == nil {
		_ = server.Process.Signal(syscall.SIGINT) // fast shutdown: ends sessions
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = server.Process.Signal(syscall.SIGQUIT)
			<-ended
		}
	}
	if remove := os.RemoveAll(w.Place.pg()); err == nil {
		err = remove
	}
	return err
}

// unused returns, with the users' lock where it can be had, when the cluster
// has to end; with an error when the server ended by itself.
func (w watch) unused(ctx context.Context, ended <-chan error) (*flock.Lock, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case <-ctx.Done():
			return nil, nil
		case err := <-ended:
			return nil, fmt.Errorf("the server ended: %v", err)
		case <-tick.C:
		}
		switch l, err := flock.TryExclusive(w.Place.users()); {
		case err != nil:
			return nil, nil // the directory was removed under us: end the server
		case l == nil:
			last = time.Now()
		case time.Since(last) > w.Idle:
			return l, nil
		default:
			l.Unlock()
		}
	}
}

// server is the command that runs PostgreSQL.
func (w watch) server() *exec.Cmd {
	args := []string{"-D", w.Place.data()}
	settings := []string{
		"listen_addresses=", "unix_socket_directories=" + w.Place.pg(), "unix_socket_permissions=0700", "port=5432",
		"max_connections=300", "shared_buffers=16MB", "logging_collector=off", "timezone=UTC", "log_timezone=UTC",
	}
	if !w.Durable {
		// Nothing here has to survive anything: databases come and go quickly.
		settings = append(settings, "fsync=off", "full_page_writes=off", "synchronous_commit=off",
			"wal_init_zero=off", "wal_level=minimal", "max_wal_senders=0", "checkpoint_timeout=1h")
	}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command(filepath.Join(w.Bin, "postgres"), args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	cmd.Dir = w.Place.pg()
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = w.As.attributes()
	endWithParent(cmd.SysProcAttr)
	return cmd
}
