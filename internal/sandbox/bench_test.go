//go:build linux && (amd64 || arm64)

package sandbox_test

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/sandbox"
)

// BenchmarkStart measures from Start to the first line of a small program, with
// and without walls; the difference is what the walls cost.
func BenchmarkStart(b *testing.B) {
	l := walls(b)
	for _, level := range []sandbox.Level{sandbox.None, sandbox.Full} {
		b.Run(level.String(), func(b *testing.B) {
			spec := shell(b, "echo; read x")
			spec.Level = level
			var took time.Duration
			for b.Loop() {
				p, err := l.Start(b.Context(), spec)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.Receive(); err != nil {
					b.Fatal(err)
				}
				took += p.Took()
				b.StopTimer()
				p.CloseInput()
				<-p.Done()
				b.StartTimer()
			}
			b.ReportMetric(float64(took.Microseconds())/float64(b.N), "start-µs/op")
		})
	}
}

// BenchmarkLine measures one line there and back.
func BenchmarkLine(b *testing.B) {
	l := walls(b)
	for _, level := range []sandbox.Level{sandbox.None, sandbox.Full} {
		b.Run(level.String(), func(b *testing.B) {
			spec := child(b, "echo")
			spec.Level = level
			p := start(b, l, spec)
			message := []byte(strings.Repeat("m", 300))
			for b.Loop() {
				if err := p.Send(b.Context(), message); err != nil {
					b.Fatal(err)
				}
				if _, err := p.Receive(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// TestIdleChildrenAreSmall counts our part of a hundred idle children: their
// inits, and what this process holds for them.
func TestIdleChildrenAreSmall(t *testing.T) {
	l := walls(t)
	const n = 100
	before := resident(t, os.Getpid())
	inits := 0
	for range n {
		inits += resident(t, start(t, l, shell(t, "read x")).PID())
	}
	ours := resident(t, os.Getpid()) - before
	t.Logf("per child: %d KiB in the init, %d KiB here", inits/n>>10, ours/n>>10)
	if (inits+ours)/n > 1<<20 {
		t.Fatalf("%d bytes per child", (inits+ours)/n)
	}
}

func resident(t testing.TB, pid int) int {
	statm, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		t.Fatal(err)
	}
	return atoi(strings.Fields(string(statm))[1]) * os.Getpagesize()
}

func TestChurnLeavesNothing(t *testing.T) {
	l := walls(t)
	descriptors := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	churn := func(n int) {
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for i := range n {
					spec := shell(t, "echo x >&2; read x")
					if i%2 == 0 {
						spec.Network.AllowHosts = []string{"api.example.test"}
					}
					p, err := l.Start(t.Context(), spec)
					if err != nil {
						t.Error(err)
						return
					}
					p.Stop(t.Context())
				}
			})
		}
		all.Wait()
	}
	churn(1) // what is made once is made now
	fds, routines := descriptors(), runtime.NumGoroutine()
	churn(6)
	eventually(t, 2*time.Second, "as many descriptors and goroutines as before", func() bool {
		return descriptors() <= fds && runtime.NumGoroutine() <= routines && len(l.Running()) == 0
	})
}
