//go:build linux && (amd64 || arm64)

package stdio_test

import (
	"testing"

	"headgate/internal/mcp"
	"headgate/internal/testkit"
)

// BenchmarkCall measures a call through the hub to a program behind walls, by
// sixteen callers on two processors.
func BenchmarkCall(b *testing.B) {
	h := newHouse(b)
	for _, c := range []struct {
		mode     string
		revision mcp.Revision
	}{{"fast", mcp.LatestLegacy}} {
		b.Run(c.mode, func(b *testing.B) {
			s := server(c.mode)
			testkit.Must(h.hub.Eras(b.Context(), s, ann, c.revision.Era()))(b)
			b.SetParallelism(8)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				r := request(s, c.revision, "1", "echo", `{"text":"hello hello hello hello hello hello hello hello hello hello"}`)
				for pb.Next() {
					a, err := h.hub.Exchange(b.Context(), r, nil)
					if err != nil {
						b.Error(err)
						return
					}
					a.Release()
				}
			})
		})
	}
}
