package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	platform "headgate/client"
	"headgate/internal/db"
	"headgate/internal/testkit/postgres"
)

// headgate is one Headgate with a data directory of its own.
type headgate struct {
	target
	binary, dir string
	args, env   []string
	first       firstRun
}

// firstRun is what a first start leaves in its data directory.
type firstRun struct {
	URL    string `json:"url"`
	MCPURL string `json:"mcpUrl"`
	APIKey string `json:"apiKey"`

	OperatorKey   string `json:"operatorKey"`
	OwnerEmail    string `json:"ownerEmail"`
	OwnerPassword string `json:"ownerPassword"`
}

// build compiles the server as users get it.
func build(ctx context.Context, root, dir string) (string, error) {
	binary := filepath.Join(dir, "headgate-binary")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/headgate")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build headgate: %w\n%s", err, out)
	}
	return binary, nil
}

// newHeadgate starts a Headgate; its servers are registered later.
func newHeadgate(ctx context.Context, name, binary, dir string, args, env []string) (*headgate, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	h := &headgate{target: target{name: name, addr: addr}, binary: binary, dir: filepath.Join(dir, name), env: env}
	if err := os.Mkdir(h.dir, 0o700); err != nil {
		return nil, err
	}
	h.args = append([]string{"serve", "--listen", addr, "--data", filepath.Join(h.dir, "data")}, args...)
	if err := h.start(); err != nil {
		return nil, err
	}
	if err := h.introduce(ctx); err != nil {
		h.process.stop()
		return nil, h.process.failed(err)
	}
	return h, nil
}

// start starts the process; it may not be ready yet.
func (h *headgate) start() error {
	cmd := exec.Command(h.binary, h.args...)
	cmd.Dir = h.dir
	cmd.Env = append(os.Environ(), h.env...)
	out, err := os.OpenFile(filepath.Join(h.dir, "stdout"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd.Stdout = out
	h.process, err = spawn("headgate", h.dir, cmd)
	return err
}

// introduce waits for the end of a first start and reads its credentials.
func (h *headgate) introduce(ctx context.Context) error {
	if err := until(ctx, time.Minute, h.ready); err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	text, err := os.ReadFile(filepath.Join(h.dir, "data", "first-run.json"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &h.first); err != nil {
		return fmt.Errorf("first-run.json: %w", err)
	}
	endpoint, err := url.Parse(h.first.MCPURL)
	if err != nil {
		return err
	}
	h.path, h.tool = endpoint.Path, "bench_echo"
	h.key = h.first.APIKey
	return nil
}

// register adds the MCP server at an address under a name.
func (h *headgate) register(ctx context.Context, name, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	api, err := platform.New("http://"+h.addr, platform.WithKey(h.first.APIKey))
	if err != nil {
		return err
	}
	at := "http://" + addr + "/mcp"
	if _, _, err = api.CreateServer(ctx, platform.CreateServerBody{Slug: name, URL: &at}); err != nil {
		return fmt.Errorf("register %s: %w", name, err)
	}
	return nil
}

// keys makes more API keys of the owner: some limits are of one key.
func (h *headgate) keys(ctx context.Context, n int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	api, err := platform.New("http://" + h.addr)
	if err != nil {
		return nil, err
	}
	session, _, err := api.Login(ctx, platform.LoginBody{Email: h.first.OwnerEmail, Password: h.first.OwnerPassword})
	if err != nil {
		return nil, fmt.Errorf("sign in: %w", err)
	}
	if api, err = platform.New("http://"+h.addr, platform.WithToken(session.Token)); err != nil {
		return nil, err
	}
	list := make([]string, n)
	for i := range list {
		made, _, err := api.CreateMyKey(ctx, platform.CreateAPIKeyBody{Name: fmt.Sprintf("bench %d", i), Scopes: []string{"mcp:read", "mcp:write"}})
		if err != nil {
			return nil, fmt.Errorf("make a key: %w", err)
		}
		list[i] = made.APIKey.Key
	}
	return list, nil
}

// ready asks /readyz.
func (h *headgate) ready() bool {
	client := http.Client{Timeout: time.Second}
	res, err := client.Get("http://" + h.addr + "/readyz")
	if err != nil {
		return false
	}
	defer res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// firstCall restarts the server and returns the time from its start to its
// first right answer.
func (h *headgate) firstCall(ctx context.Context, wrong *tally) (time.Duration, error) {
	h.process.stop()
	start := time.Now()
	if err := h.start(); err != nil {
		return 0, err
	}
	k := &caller{target: &h.target}
	if err := until(ctx, time.Minute, func() bool { return k.reopen() == nil }); err != nil {
		return 0, h.process.failed(fmt.Errorf("no session after a restart: %w", err))
	}
	defer closeAll([]*caller{k})
	k.prepare(echoOf(h.tool, 64))
	k.call(wrong, start)
	return time.Since(start), nil
}

// durablePostgres starts a cluster with fsync on. It lives as long as the one
// returned is kept: its lock is what tells the watchdog that somebody uses it.
func durablePostgres(ctx context.Context, root string) (*postgres.Cluster, error) {
	return postgres.Start(ctx, root, postgres.Options{Durable: true, Idle: 2 * time.Second})
}

// freshDatabase makes an empty database, which Headgate migrates.
func freshDatabase(ctx context.Context, c *postgres.Cluster, name string) (url string, err error) {
	admin, err := db.Open(ctx, c.URL("postgres"), db.Options{Connections: 1})
	if err != nil {
		return "", err
	}
	defer admin.Close()
	name = fmt.Sprintf("headgate_bench_%s_%d", name, os.Getpid())
	if _, err := db.Exec(ctx, admin, `DROP DATABASE IF EXISTS `+name+` WITH (FORCE)`); err != nil {
		return "", err
	}
	_, err = db.Exec(ctx, admin, `CREATE DATABASE `+name)
	return c.URL(name), err
}

// freeAddr returns a loopback address nobody listens on.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}
