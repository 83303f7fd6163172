//go:build linux && (amd64 || arm64)

package stdio_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/sandbox"
	"headgate/internal/upstream/stdio"
)

// TestNeighbours lets children misbehave in every way at once, again and again,
// while others work in the same Host. When that is closed nothing is left.
func TestNeighbours(t *testing.T) {
	launcher(t) // attested before anything is counted
	leakFree(t, func() { neighbours(t) })
}

func neighbours(t *testing.T) {
	h := newHouse(t, func(o *stdio.Options) {
		o.Reading, o.Idle = 3*time.Second, 100*time.Millisecond // so that everything that can meet does
		spec := o.Spec
		o.Spec = func(ctx context.Context, s *catalog.Server, b *catalog.Binding) (sandbox.Spec, error) {
			p, err := spec(ctx, s, b)
			p.Limits = sandbox.Limits{Data: 4 << 30, Memory: 200 << 20}
			return p, err
		}
	})
	sweep, stop := context.WithCancel(t.Context())
	defer stop()
	var beside sync.WaitGroup
	beside.Go(func() { _ = h.host.Run(sweep) })

	const servers, callers, rounds = 3, 4, 4
	done := make(chan struct{})
	var peaceful, hostile sync.WaitGroup
	for n := range servers {
		s := server("legacy")
		for c := range callers {
			peaceful.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-done:
						return
					default:
					}
					text := strings.Repeat("x", (i%7)*20_000) + fmt.Sprint(n, c, i)
					alarm := time.AfterFunc(10*time.Second, func() { t.Logf("a neighbour waits: %+v\n%s", h.host.Status(s.Key()), everything()) })
					a, err := h.hub.Exchange(context.Background(), request(s, mcp.LatestLegacy, fmt.Sprint(i), "echo", fmt.Sprintf(`{"text":%q}`, text)), nil)
					alarm.Stop()
					if err != nil {
						t.Errorf("a neighbour's call: %v\n%+v", err, h.host.Status(s.Key()))
						return
					}
					if got := textOf(t, a); got != text {
						t.Errorf("a neighbour got %d bytes instead of %d", len(got), len(text))
					}
					a.Release()
				}
			})
		}
	}
	for _, attack := range []string{"endless", "flood", "hoard", "exit", "deaf", "pings", "sleep", "hush", "junk", "spin"} {
		hostile.Go(func() {
			for range rounds {
				s := server("legacy") // a new one, so that no breaker protects the others from it
				ctx, cancel := context.WithTimeout(context.Background(), 700*time.Millisecond)
				for range 2 {
					a, _ := h.hub.Exchange(ctx, request(s, mcp.LatestLegacy, "1", attack, `{}`), nil) // whatever comes of it
					a.Release()
					a, _ = h.hub.Exchange(ctx, request(s, mcp.LatestLegacy, "1", "echo", fmt.Sprintf(`{"text":%q}`, strings.Repeat("y", 200_000))), nil)
					a.Release()
				}
				cancel()
			}
		})
	}
	hostile.Wait()
	close(done)
	peaceful.Wait()
	stop()
	beside.Wait()
	h.hub.Close(t.Context())
	h.host.Close(t.Context())
	if left := shared().Running(); len(left) > 0 {
		t.Errorf("%d processes are left", len(left))
	}
}

// everything is what every goroutine is doing.
func everything() string {
	var b bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&b, 2) // into memory
	return b.String()
}
