//go:build linux && (amd64 || arm64)

package stdio_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/sandbox"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
	"headgate/internal/upstream/stdio"
)

func TestSleep(t *testing.T) {
	h := newHouse(t, func(o *stdio.Options) { o.Idle = 20 * time.Millisecond })
	s := server("legacy")
	first := testkit.Must(h.hub.List(t.Context(), s, ann, upstream.Tools))(t)
	h.say(s, "remember", `{"text":"blue"}`)
	awake := h.status(s)
	sleep := func() {
		t.Helper()
		eventually(t, "asleep", func() bool { h.host.Sweep(); return h.status(s).State == stdio.Asleep })
	}
	sleep()
	t.Run("an idle child is stopped, and its sessions stay", func(t *testing.T) {
		if st := h.status(s); awake.State != stdio.Running || awake.Report.Level != sandbox.Full || st.Sessions == 0 || st.Streak != 0 {
			t.Errorf("%+v, then %+v", awake, st)
		}
	})
	t.Run("lists come from memory while it sleeps, and wake nobody", func(t *testing.T) {
		h.hub.Invalidate(s)
		l := testkit.Must(h.hub.List(t.Context(), s, ann, upstream.Tools))(t)
		if len(l.Items) != len(first.Items) || h.status(s).State != stdio.Asleep {
			t.Errorf("%d tools, %+v", len(l.Items), h.status(s))
		}
	})
	t.Run("the next call wakes it, with its files", func(t *testing.T) {
		if got := h.say(s, "recall", `{}`); got != "blue" {
			t.Errorf("got %q", got)
		}
		if st := h.status(s); st.Starts != 2 || st.StartP50 <= 0 || st.StartP95 < st.StartP50 || st.Spawn <= 0 || st.Spawn > st.StartP95 {
			t.Errorf("%+v", st)
		}
	})
	t.Run("a test wakes it, and says why where it cannot", func(t *testing.T) {
		sleep()
		if _, _, err := h.hub.Test(t.Context(), s, ann); err != nil || h.status(s).State != stdio.Running {
			t.Errorf("%v, %+v", err, h.status(s))
		}
		_, _, err := h.hub.Test(t.Context(), server("crash"), ann)
		testkit.Fault(t, err, "stdio.ended")
	})
	t.Run("what sessions had asked for holds for the new child", func(t *testing.T) {
		r := asked(s, "watcher", "echo", "")
		r.Client.Level = "debug"
		var l heard
		stop := testkit.Must(h.hub.Watch(t.Context(), r, []string{"note://x"}, l.tell))(t)
		defer stop()
		h.logged(s, "resources/subscribe note://x")
		sleep()
		h.say(s, "updated", `{"uri":"note://x"}`)
		h.logged(s, "level debug")
		eventually(t, "an update over the same stream", func() bool { return l.count("note://x") > 0 || h.say(s, "updated", `{"uri":"note://x"}`) == "" })
	})
	t.Run("a modern subscription outlives the sleep", func(t *testing.T) {
		s := server("sdk")
		h.text(request(s, mcp.LatestModern, "1", "echo", `{}`))
		var l heard
		stop := testkit.Must(h.hub.WatchLists(t.Context(), s, ann, l.tell))(t)
		defer stop()
		eventually(t, "asleep", func() bool { h.host.Sweep(); return h.status(s).State == stdio.Asleep })
		eventually(t, "a change in the second child", func() bool {
			h.text(request(s, mcp.LatestModern, "1", "grow", fmt.Sprintf(`{"text":"t%d"}`, time.Now().UnixNano())))
			// The SDK waits for a pause in the changes before it tells of them.
			for range 20 {
				if l.count("list_changed") > 0 {
					return true
				}
				time.Sleep(10 * time.Millisecond)
			}
			return false
		})
		if h.status(s).Starts != 2 {
			t.Errorf("%+v", h.status(s))
		}
	})
	t.Run("a call under way keeps it awake", func(t *testing.T) {
		s := server("legacy")
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = h.hub.Exchange(ctx, request(s, mcp.LatestLegacy, "1", "hold", `{}`), nil)
		}()
		h.logged(s, "held")
		time.Sleep(60 * time.Millisecond) // three times the idle time
		h.host.Sweep()
		if st := h.status(s); st.State != stdio.Running {
			t.Errorf("%+v", st)
		}
		leave()
		<-done
	})
}

// tree lists the host's processes whose command line has the marker.
func tree(marker string) (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range dirs {
		text, _ := os.ReadFile(f)
		if strings.Contains(string(text), marker) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func kill(pids ...int) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

func TestKills(t *testing.T) {
	h := newHouse(t)
	for _, c := range []struct {
		name string
		kill func(init int, child []int)
	}{
		{"the child", func(_ int, child []int) { kill(child...) }},
		{"its init", func(init int, _ []int) { kill(init) }},
		{"the init, then the child", func(init int, child []int) { kill(init); kill(child...) }},
		{"the child, then the init", func(init int, child []int) { kill(child...); kill(init) }},
	} {
		t.Run("kill -9 of "+c.name+": no orphan, and the next call works", func(t *testing.T) {
			marker := fmt.Sprint("marker-", time.Now().UnixNano())
			s := server("legacy " + marker)
			h.say(s, "echo", `{"text":"x"}`)
			pending := make(chan error, 1)
			go func() {
				_, err := h.hub.Exchange(t.Context(), request(s, mcp.LatestLegacy, "1", "hold", `{}`), nil)
				pending <- err
			}()
			h.logged(s, "held")
			init := h.host.PIDs(s.Key())
			child := tree(marker)
			if len(init) != 1 || len(child) == 0 {
				t.Fatalf("init %v, child %v", init, child)
			}
			c.kill(init[0], child)
			select {
			case err := <-pending:
				testkit.Fault(t, err, "upstream.failed") // told at once, not repeated
			case <-time.After(5 * time.Second):
				t.Fatal("the call under way hangs")
			}
			for _, pid := range append(child, init...) {
				eventually(t, "nothing left", func() bool { return syscall.Kill(pid, 0) != nil })
			}
			if got := h.say(s, "echo", `{"text":"again"}`); got != "again" {
				t.Errorf("got %s", got)
			}
			if st := h.status(s); st.Starts != 2 || st.LastExit == nil {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestSeparation(t *testing.T) {
	h := newHouse(t)
	t.Run("a server has a child, and files, for each set of credentials", func(t *testing.T) {
		s := server("legacy")
		as := func(account, tool, args string) string {
			r := request(s, mcp.LatestLegacy, "1", tool, args)
			r.By = &access.Principal{ID: account, User: account, Account: account}
			return h.text(r)
		}
		as("a", "remember", `{"text":"of a"}`)
		if got := as("b", "recall", `{}`); got != "" {
			t.Errorf("b reads %q", got)
		}
		if got := as("a", "recall", `{}`); got != "of a" {
			t.Errorf("a reads %q", got)
		}
		if a, b := as("a", "pid", `{}`), as("b", "pid", `{}`); a == b {
			t.Errorf("the same process: %s", a)
		}
		if len(h.host.Status(s.Key())) != 2 {
			t.Errorf("%+v", h.host.Status(s.Key()))
		}
	})
	t.Run("the environment holds what was declared and nothing of ours", func(t *testing.T) {
		t.Setenv("HEADGATE_KEYS", "hunter2")
		if got := h.say(server("legacy"), "environment", `{}`); got != "HOME=/private\nPATH=/usr/local/bin:/usr/bin:/bin\nTMPDIR=/tmp" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("logs of a user's own child are shown to that user", func(t *testing.T) {
		s := server("legacy")
		r := request(s, mcp.LatestLegacy, "1", "hold", `{}`)
		r.By, r.Timeout = &access.Principal{ID: "a", User: "a", Account: "a"}, 300*time.Millisecond
		_, _ = h.hub.Exchange(t.Context(), r, nil)
		if len(h.host.Logs(s.Key(), "a")) == 0 || len(h.host.Logs(s.Key(), "b")) != 0 {
			t.Errorf("a: %v, b: %v", h.host.Logs(s.Key(), "a"), h.host.Logs(s.Key(), "b"))
		}
	})
}

func TestBounds(t *testing.T) {
	t.Run("one more child than a workspace may have stops the one unused for longest", func(t *testing.T) {
		h := newHouse(t, func(o *stdio.Options) { o.PerWorkspace = 2 })
		servers := []*catalog.Server{server("legacy"), server("legacy"), server("legacy")}
		for _, s := range servers {
			h.say(s, "echo", `{}`)
		}
		if a, c := h.status(servers[0]), h.status(servers[2]); a.State != stdio.Asleep || a.Streak != 0 || c.State != stdio.Running || h.host.Stats().Running != 2 {
			t.Errorf("%+v, %+v, %+v", a, c, h.host.Stats())
		}
	})
	t.Run("children that work are not stopped for others", func(t *testing.T) {
		h := newHouse(t, func(o *stdio.Options) { o.PerWorkspace = 1 })
		s := server("legacy")
		ctx, leave := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = h.hub.Exchange(ctx, request(s, mcp.LatestLegacy, "1", "hold", `{}`), nil)
		}()
		h.logged(s, "held")
		other := server("legacy")
		_, err := h.hub.Exchange(t.Context(), request(other, mcp.LatestLegacy, "1", "echo", `{}`), nil)
		testkit.Fault(t, err, "upstream.failed")
		if st := h.status(other); !errors.Is(st.Failure, stdio.ErrBusy) || h.status(s).State != stdio.Running {
			t.Errorf("%+v", st)
		}
		leave()
		<-done
	})
	t.Run("starts wait for their turn, and only so many", func(t *testing.T) {
		h := newHouse(t, func(o *stdio.Options) { o.Starts, o.Queue, o.PerWorkspace = 1, 1, 100 })
		var failed, answered int
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 12 {
			all.Go(func() {
				_, err := h.hub.Exchange(t.Context(), request(server("legacy"), mcp.LatestLegacy, "1", "echo", `{}`), nil)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					failed++
				} else {
					answered++
				}
			})
		}
		all.Wait()
		if answered < 2 || failed == 0 {
			t.Errorf("%d answered, %d refused", answered, failed)
		}
	})
}

func TestRequiredLevel(t *testing.T) {
	h := newHouse(t)
	weak := testkit.Must(sandbox.NewLauncher(sandbox.Config{Executable: "/bin/true", Log: slog.New(slog.DiscardHandler), Now: time.Now}))(t) // attests nothing
	if got := h.host.Summary(); got != "stdio: on, with the walls of level full" {
		t.Errorf("%q", got)
	}
	if got := stdio.NewHost(stdio.Options{Launcher: weak}).Summary(); !strings.Contains(got, "once the walls are tried") {
		t.Errorf("%q", got)
	}
	for _, c := range []struct {
		level   sandbox.Level
		ok      bool
		summary string
	}{{sandbox.Full, false, "stdio: off, without start "}, {sandbox.Basic, false, "stdio: off, without start "}, {sandbox.None, true, "stdio: on, without walls"}} {
		t.Run("required "+c.level.String()+" on a host without walls", func(t *testing.T) {
			host := stdio.NewHost(stdio.Options{Launcher: weak, Level: c.level, Spec: h.spec})
			defer host.Close(t.Context())
			hub := upstream.NewHub(upstream.Options{Binder: binder{}, Channels: map[catalog.Transport]upstream.Channel{catalog.Stdio: host}})
			defer hub.Close(t.Context())
			_, err := hub.Exchange(t.Context(), request(server("legacy"), mcp.LatestLegacy, "1", "echo", `{"text":"x"}`), nil)
			if !c.ok {
				testkit.Fault(t, err, "sandbox.level")
				testkit.Fault(t, host.Ready(t.Context()), "sandbox.level")
			} else if err != nil || host.Ready(t.Context()) != nil {
				t.Errorf("%v", err)
			}
			if got := host.Summary(); !strings.HasPrefix(got, c.summary) {
				t.Errorf("%q", got)
			}
			if n := len(weak.Running()); !c.ok && n != 0 {
				t.Errorf("%d processes", n)
			}
		})
	}
}
