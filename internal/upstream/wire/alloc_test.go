//go:build unix && !race

package wire_test

import (
	"testing"
	"time"

	"headgate/internal/netguard"
	"headgate/internal/upstream/wire"
)

func TestExchangeAllocatesNothing(t *testing.T) {
	p := wire.NewPool(netguard.New(netguard.Policy{Loopback: true}).DialContext, wire.Options{})
	defer p.Close()
	for name, answer := range map[string]string{"json": jsonAnswer(64), "large json": jsonAnswer(64 << 10), "stream": sseAnswer(64)} {
		r := &wire.Request{Target: target(t, rawUpstream(t, answer)), Body: [][]byte{[]byte(benchBody)}}
		n := testing.AllocsPerRun(300, func() {
			r.Deadline = time.Now().Add(patience)
			resp, err := p.Do(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			if resp.Kind == wire.SSE {
				_, err = resp.NextEvent(0)
			} else {
				_, err = resp.ReadAll(0)
			}
			if err != nil {
				t.Fatal(err)
			}
			resp.Release()
		})
		if n > 0 {
			t.Errorf("%s: %.0f allocations", name, n)
		}
	}
}
