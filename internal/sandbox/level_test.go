package sandbox_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"headgate/internal/sandbox"
)

func TestLevels(t *testing.T) {
	t.Run("the zero level is the strongest", func(t *testing.T) {
		if (sandbox.Spec{}).Level != sandbox.Full {
			t.Fatal("a forgotten level is weak")
		}
	})
	t.Run("names are read back", func(t *testing.T) {
		for _, l := range []sandbox.Level{sandbox.Full, sandbox.Basic, sandbox.None} {
			if got, err := sandbox.ParseLevel(l.String()); err != nil || got != l {
				t.Fatalf("%s: %v %v", l, got, err)
			}
		}
		report, err := json.Marshal(sandbox.Report{Level: sandbox.Basic})
		if err != nil || string(report) != `{"level":"basic","walls":null}` {
			t.Fatalf("got %s %v", report, err)
		}
		if _, err := sandbox.ParseLevel("some"); !errors.Is(err, sandbox.ErrSpec) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("a report passes what it covers and nothing above", func(t *testing.T) {
		r := sandbox.Report{Level: sandbox.Basic, Walls: []sandbox.Wall{{Name: "landlock", Detail: "the kernel has none"}}}
		if r.Check(sandbox.Basic) != nil || r.Check(sandbox.None) != nil {
			t.Error("refused what it covers")
		}
		if err := r.Check(sandbox.Full); !errors.Is(err, sandbox.ErrLevel) || !strings.Contains(err.Error(), "landlock (the kernel has none)") {
			t.Errorf("got %v", err)
		}
	})
}
