package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/sandbox"
	"headgate/internal/testkit/rawmcp"
	connections "headgate/internal/upstream"
	"headgate/internal/upstream/stdio"
)

const (
	overStdio  = "headgate, stdio"
	stdioCalls = "16 callers, 64 B, stdio"
	coldStart  = "stdio cold start"
	wallCost   = "stdio walls"
	idleStdio  = "idle stdio children"
)

// program is a stdio server that costs next to nothing per call: the raw
// upstream over lines. It speaks the revisions with sessions.
func program() error {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriterSize(os.Stdout, 1<<20)
	var answer []byte
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil
		}
		id := rawmcp.Member(line, "id")
		params := rawmcp.Member(line, "params")
		switch method := string(rawmcp.Text(rawmcp.Member(line, "method"))); {
		case len(id) == 0:
			continue
		case method == "initialize":
			answer = fmt.Appendf(answer[:0], `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"bench","version":"1"}}}`, id)
		case method == "tools/list":
			answer = fmt.Appendf(answer[:0], `{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}}`, id)
		case method == "tools/call":
			text := rawmcp.Member(rawmcp.Member(params, "arguments"), "text")
			answer = append(append(append(answer[:0], `{"jsonrpc":"2.0","id":`...), id...), `,"result":{"content":[{"type":"text","text":`...)
			answer = append(append(answer, text...), `}]}}`...)
		default:
			answer = fmt.Appendf(answer[:0], `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`, id)
		}
		_, _ = out.Write(append(answer, '\n'))
		if in.Buffered() > 0 && bytes.IndexByte(peek(in), '\n') >= 0 {
			continue // more has come: answer together
		}
		if err := out.Flush(); err != nil {
			return nil
		}
	}
}

func peek(in *bufio.Reader) []byte {
	b, _ := in.Peek(in.Buffered())
	return b
}

// offer makes a server of this program at the durable Headgate, once.
func (b *bench) offer() error {
	if b.full == nil || b.stdio != nil {
		return nil
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	file := filepath.Join(b.dir, "program.yaml")
	if err := os.WriteFile(file, []byte("name: program\nprogram: "+self+"\nargs: [program]\nlimits: {dataMiB: 4096}\n"), 0o600); err != nil {
		return err
	}
	if _, err := b.full.run(b.ctx, true, "catalog", "add", "--no-try", "--file", file); err != nil {
		return err
	}
	text, err := b.full.run(b.ctx, true, "catalog", "enable", "program", "--json")
	if err != nil {
		return err
	}
	var enabled struct{ Entry struct{ ServiceID string } }
	if err := json.Unmarshal(text, &enabled); err != nil {
		return err
	}
	if _, err := b.full.run(b.ctx, false, "server", "add", "program", "--service", enabled.Entry.ServiceID); err != nil {
		return err
	}
	t := b.full.target
	t.name, t.path, t.tool = overStdio, "/mcp/program", "echo"
	b.stdio = &t
	return nil
}

// run runs a command of the CLI against this Headgate.
func (h *headgate) run(ctx context.Context, operator bool, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	key := h.first.APIKey
	if operator {
		key = h.first.OperatorKey
	}
	cmd := exec.CommandContext(ctx, h.binary, args...)
	cmd.Dir = h.dir
	cmd.Env = append(os.Environ(), "HEADGATE_URL=http://"+h.addr, "HEADGATE_KEY="+key)
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("headgate %s: %w\n%s", strings.Join(args, " "), err, failed.String())
	}
	return out, nil
}

// measureStdio measures calls of a program behind walls.
func measureStdio(b *bench) error {
	if b.full == nil {
		return nil
	}
	if err := b.offer(); err != nil {
		return err
	}
	return b.alternate(stdioCalls, []*target{b.target(direct), b.stdio}, func(t *target) (sample, error) {
		callers, err := b.crew(t, 16, echoOf(t.tool, 64))
		if err != nil {
			return sample{}, err
		}
		return b.sample(t, func(d time.Duration) sample { return closed(b.ctx, callers, &b.wrong, d) })
	})
}

// measureColdStart measures from the wish for a program to the end of its
// handshake, in a running Headgate.
func measureColdStart(b *bench) error {
	if b.full == nil {
		return nil
	}
	if err := b.offer(); err != nil {
		return err
	}
	for range b.rounds {
		text, err := b.full.run(b.ctx, true, "catalog", "try", "program", "--json")
		if err != nil {
			return err
		}
		var tried struct{ Trial struct{ StartMs float64 } }
		if err := json.Unmarshal(text, &tried); err != nil {
			return err
		}
		b.values[coldStart] = append(b.values[coldStart], tried.Trial.StartMs)
	}
	return nil
}

// launcher is one of our own, for what cannot be seen from outside.
func (b *bench) launcher() (*sandbox.Launcher, error) {
	if err := sandbox.Harden(); err != nil {
		return nil, err
	}
	return sandbox.NewLauncher(sandbox.Config{Executable: b.full.binary, Log: slog.New(slog.DiscardHandler), Now: time.Now})
}

// measureWalls measures what the walls add to starting a program.
func measureWalls(b *bench) error {
	if b.full == nil {
		return nil
	}
	l, err := b.launcher()
	if err != nil {
		return err
	}
	defer l.Close(b.ctx)
	report, err := l.Attest(b.ctx)
	if err != nil {
		return err
	}
	if report.Check(sandbox.Full) != nil {
		b.note("this host gives no walls: no rows for stdio")
		return nil
	}
	took := map[sandbox.Level][]float64{}
	for i := range 8 * b.rounds {
		level := []sandbox.Level{sandbox.None, sandbox.Full}[i%2]
		began := time.Now()
		p, err := l.Start(b.ctx, sandbox.Spec{Argv: []string{"/bin/sh", "-c", "echo; read x"}, WorkDir: filepath.Join(b.dir, "walls"), Level: level})
		if err != nil {
			return err
		}
		if _, err := p.Receive(); err != nil {
			return err
		}
		took[level] = append(took[level], time.Since(began).Seconds()*1000)
		p.Stop(b.ctx)
	}
	b.values[wallCost] = []float64{median(took[sandbox.Full]) - median(took[sandbox.None])}
	return nil
}

// oneBinder gives every caller the same, empty credentials.
type oneBinder struct{}

func (oneBinder) Bind(context.Context, *catalog.Server, *access.Principal) (*catalog.Binding, error) {
	return &catalog.Binding{Identity: "shared"}, nil
}

// measureIdle measures what Headgate itself keeps for each of a hundred idle
// programs: the inits, and what this process holds for them.
func measureIdle(b *bench) error {
	if b.full == nil {
		return nil
	}
	l, err := b.launcher()
	if err != nil {
		return err
	}
	defer l.Close(b.ctx)
	if report, err := l.Attest(b.ctx); err != nil || report.Check(sandbox.Full) != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	const n = 100
	host := stdio.NewHost(stdio.Options{Launcher: l, PerWorkspace: n, Spec: func(_ context.Context, s *catalog.Server, _ *catalog.Binding) (sandbox.Spec, error) {
		return sandbox.Spec{Argv: []string{self, "program"}, ReadOnly: []string{self}, WorkDir: filepath.Join(b.dir, "idle", s.ID), Limits: sandbox.Limits{Data: 4 << 30}}, nil
	}})
	defer host.Close(b.ctx)
	hub := connections.NewHub(connections.Options{Binder: oneBinder{}, Dial: new(net.Dialer).DialContext, Channels: map[catalog.Transport]connections.Channel{catalog.Stdio: host}})
	defer hub.Close(b.ctx)
	ask := func(i int) error {
		s := &catalog.Server{ID: "srv_" + strconv.Itoa(i), Transport: catalog.Stdio, Era: catalog.Legacy, Enabled: true, Version: 1}
		a, err := hub.Exchange(b.ctx, &connections.Request{Server: s, Revision: mcp.LatestLegacy, Method: mcp.MethodToolsCall, Name: "echo", ID: []byte("1"),
			Body: []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"x"}}}`)}, nil)
		a.Release()
		return err
	}
	if err := ask(0); err != nil { // what is made once is made now
		return err
	}
	before := resident(os.Getpid())
	inits := 0.0
	for i := range n {
		if err := ask(i + 1); err != nil {
			return err
		}
	}
	ours := resident(os.Getpid()) - before
	for _, p := range l.Running() {
		inits += resident(p.PID())
	}
	b.values[idleStdio] = []float64{(ours + inits) / n}
	return nil
}

// resident is a process's memory in MiB.
func resident(pid int) float64 {
	f, err := os.Open(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	defer f.Close()
	text, _ := io.ReadAll(f)
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseFloat(fields[1], 64)
	return pages * float64(os.Getpagesize()) / (1 << 20)
}
