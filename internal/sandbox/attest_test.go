//go:build linux && (amd64 || arm64)

package sandbox_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"headgate/internal/sandbox"
)

func down(r sandbox.Report) []string {
	var names []string
	for _, w := range r.Down() {
		names = append(names, w.Name)
	}
	return names
}

func TestAttest(t *testing.T) {
	l := walls(t)
	t.Run("shows every wall, tried from inside", func(t *testing.T) {
		report, err := l.Attest(t.Context())
		if err != nil || report.Level != sandbox.Full || len(report.Walls) != 13 {
			t.Fatalf("got %v %+v", err, report)
		}
		for _, w := range report.Walls {
			if !w.Up || w.Detail == "" {
				t.Errorf("%+v", w)
			}
		}
	})
	t.Run("shows the walls of a child that runs", func(t *testing.T) {
		p := start(t, l, child(t, "echo"))
		if report := p.Attest(); report.Level != sandbox.Full || len(report.Walls) < 11 {
			t.Fatalf("got %s, down: %+v", report.Level, report.Down())
		}
	})
	t.Run("grades a child that has ended as nothing", func(t *testing.T) {
		p := start(t, l, shell(t, "exit"))
		ended(t, p)
		if report := p.Attest(); report.Level != sandbox.None {
			t.Fatalf("got %+v", report)
		}
	})
}

// A launcher inside a sandbox is a launcher on a host that forbids namespaces.
func TestHostWithoutNamespaces(t *testing.T) {
	l := walls(t)
	spec := child(t, "nested")
	got := output(t, start(t, l, spec))
	if len(got) != 3 {
		t.Fatalf("got %q", got)
	}
	if !strings.HasPrefix(got[0], "none ") || !strings.Contains(got[0], "make a user namespace: operation not permitted") || !strings.Contains(got[0], "user.max_user_namespaces") {
		t.Errorf("the report does not say why: %s", got[0])
	}
	for i, level := range []string{"full", "basic"} {
		if line := got[i+1]; !strings.HasPrefix(line, "sandbox.level: ") || !strings.Contains(line, "the level "+level+" is required") {
			t.Errorf("no refusal at level %s: %s", level, line)
		}
	}
}

func TestHostWithFewerWalls(t *testing.T) {
	walls(t)
	for name, weaken := range map[string]func(*sandbox.Launcher){
		sandbox.WallLandlock: (*sandbox.Launcher).WithoutLandlock,
		sandbox.WallSeccomp:  (*sandbox.Launcher).WithoutSeccomp,
	} {
		t.Run(name+" is reported down, full is refused, basic works", func(t *testing.T) {
			l := newLauncher(nil)
			weaken(l)
			report, err := l.Attest(t.Context())
			if err != nil || report.Level != sandbox.Basic || !slices.Equal(down(report), []string{name}) {
				t.Fatalf("got %v %s, down: %+v", err, report.Level, report.Down())
			}
			if _, err := l.Start(t.Context(), child(t, "echo")); !errors.Is(err, sandbox.ErrLevel) || !strings.Contains(err.Error(), name) {
				t.Fatalf("got %v", err)
			}
			spec := child(t, "args", "works")
			spec.Level = sandbox.Basic
			if got := output(t, start(t, l, spec)); !slices.Equal(got, []string{"works"}) {
				t.Fatalf("got %q", got)
			}
		})
	}
}

func TestNone(t *testing.T) {
	l := newLauncher(nil)
	t.Run("runs a plain process with the same declared environment", func(t *testing.T) {
		t.Setenv("HEADGATE_KEY", "secret")
		spec := child(t, "env")
		spec.Level, spec.Env = sandbox.None, map[string]string{"TOKEN": "t"}
		got := output(t, start(t, l, spec))
		if len(got) != 4 || !slices.Contains(got, "TOKEN=t") || !slices.Contains(got, "HOME="+spec.WorkDir) {
			t.Fatalf("got %q", got)
		}
	})
	t.Run("reports no walls", func(t *testing.T) {
		spec := child(t, "echo")
		spec.Level = sandbox.None
		if report := start(t, l, spec).Attest(); report.Level != sandbox.None {
			t.Fatalf("got %+v", report)
		}
	})
	t.Run("ends the whole process group", func(t *testing.T) {
		spec := shell(t, "sleep 914004 & echo ready; read x")
		spec.Level = sandbox.None
		p := start(t, l, spec)
		receive(t, p)
		p.Stop(t.Context())
		if left := marked("914004"); len(left) > 0 {
			t.Fatalf("left: %v", left)
		}
	})
}

func TestWorkDirIsMade(t *testing.T) {
	l := walls(t)
	spec := shell(t, "stat -c %a .")
	spec.WorkDir = filepath.Join(t.TempDir(), "a", "b")
	if got := output(t, start(t, l, spec)); !slices.Equal(got, []string{"700"}) {
		t.Fatalf("got %q", got)
	}
}
