package upstream_test

import (
	"context"
	"testing"

	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
	"headgate/internal/upstream"
)

// BenchmarkExchange is what the hub adds to wire, whose own benchmark has the rest.
func BenchmarkExchange(b *testing.B) {
	u := testkit.Must(rawmcp.Listen(rawmcp.Options{}))(b)
	defer u.Close()
	for _, c := range []struct {
		name     string
		revision mcp.Revision
		affinity string
	}{{"modern", mcp.LatestModern, ""}, {"legacy", mcp.LatestLegacy, "one"}, {"legacy-shared", mcp.LatestLegacy, ""}} {
		b.Run(c.name, func(b *testing.B) {
			h := upstream.NewHub(upstream.Options{Binder: shared{}, Dial: dial})
			defer h.Close(context.Background())
			r := call(serverAt(u.URL()), c.revision, "1", "echo", `{"text":"0123456789012345678901234567890123456789"}`)
			r.Affinity = c.affinity
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			b.ReportAllocs()
			for b.Loop() {
				a, err := h.Exchange(ctx, r, nil)
				if err != nil {
					b.Fatal(err)
				}
				a.Release()
			}
		})
	}
}
