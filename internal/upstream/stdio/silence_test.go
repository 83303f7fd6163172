//go:build linux && (amd64 || arm64)

package stdio_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/sandbox"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
	"headgate/internal/upstream/stdio"
)

func TestSilence(t *testing.T) {
	h := newHouse(t, func(o *stdio.Options) { o.Probe = 100 * time.Millisecond })
	ask := func(s *catalog.Server, revision mcp.Revision, tool string, timeout time.Duration) error {
		r := request(s, revision, "1", tool, `{}`)
		r.Timeout = timeout
		a, err := h.hub.Exchange(t.Context(), r, nil)
		a.Release()
		return err
	}
	const brief = 150 * time.Millisecond // longer than Probe
	giveUp := func(t *testing.T, s *catalog.Server, revision mcp.Revision, tool string, calls int) {
		t.Helper()
		for range calls {
			testkit.Fault(t, ask(s, revision, tool, brief), upstream.ErrTimeout.Code)
		}
	}
	for mode, revision := range map[string]mcp.Revision{"legacy": mcp.LatestLegacy, "modern": mcp.LatestModern} {
		t.Run("a "+mode+" child that reads and answers nothing is ended after three calls and a question, and the next call works", func(t *testing.T) {
			s := server(mode)
			testkit.Must0(t, ask(s, revision, "hush", time.Minute))
			giveUp(t, s, revision, "echo", 2)
			if st := h.status(s); st.State != stdio.Running || st.LastExit != nil {
				t.Fatalf("after two: %+v", st)
			}
			giveUp(t, s, revision, "echo", 1)
			eventually(t, "ended", func() bool { return h.status(s).LastExit != nil })
			st := h.status(s)
			if st.LastExit.Reason != sandbox.Hung || !strings.Contains(st.LastExit.String(), "none of 3 calls in a row") || st.Streak != 1 {
				t.Errorf("%s, %+v", st.LastExit, st)
			}
			if !slices.ContainsFunc(h.logs(s), func(l string) bool { return l == "heard ping" || l == "heard server/discover" }) {
				t.Errorf("it was not asked: %q", h.logs(s))
			}
			testkit.Must0(t, ask(s, revision, "echo", time.Minute))
		})
	}
	t.Run("one that gives a sign of life stays, whatever its tools do", func(t *testing.T) {
		s := server("legacy")
		testkit.Must0(t, ask(s, mcp.LatestLegacy, "echo", time.Minute))
		giveUp(t, s, mcp.LatestLegacy, "hold", 3)
		h.logged(s, "pinged")
		giveUp(t, s, mcp.LatestLegacy, "hold", 1)
		testkit.Must0(t, ask(s, mcp.LatestLegacy, "echo", time.Minute))
		if st := h.status(s); st.Starts != 1 || st.LastExit != nil {
			t.Errorf("%+v", st)
		}
	})
	t.Run("one that may be at work for an earlier call is left alone", func(t *testing.T) {
		s := server("legacy")
		var work sync.WaitGroup
		work.Go(func() { _ = ask(s, mcp.LatestLegacy, "sleep", 1500*time.Millisecond) })
		h.logged(s, "sleeping")
		giveUp(t, s, mcp.LatestLegacy, "echo", 4)
		if st := h.status(s); st.State != stdio.Running || st.LastExit != nil {
			t.Errorf("%+v", st)
		}
		work.Wait()
	})
	t.Run("calls that are given up at once say nothing of it", func(t *testing.T) {
		s := server("legacy")
		testkit.Must0(t, ask(s, mcp.LatestLegacy, "hush", time.Minute))
		for range 5 {
			testkit.Fault(t, ask(s, mcp.LatestLegacy, "echo", 20*time.Millisecond), upstream.ErrTimeout.Code)
		}
		if slices.Contains(h.logs(s), "heard ping") {
			t.Error("it was asked")
		}
	})
}
