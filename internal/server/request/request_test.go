package request_test

import (
	"context"
	"net/netip"
	"testing"

	"headgate/internal/server/request"
)

func TestInfo(t *testing.T) {
	t.Run("outside a request there is none, and nothing to trip over", func(t *testing.T) {
		ctx := context.Background()
		if request.From(ctx) != nil || request.ID(ctx) != "" || request.ClientAddr(ctx).IsValid() || request.Draining(ctx) != nil {
			t.Error("something came from nowhere")
		}
	})
	t.Run("what a door writes is what the server reads, through derived contexts", func(t *testing.T) {
		type other struct{}
		root := context.WithValue(context.Background(), other{}, "kept")
		ctx := request.With(root, request.Info{ID: "req_1", Addr: netip.MustParseAddr("192.0.2.1")})
		inner, cancel := context.WithCancel(ctx)
		cancel()
		request.From(inner).Route = "/x/{id}"
		if request.From(ctx).Route != "/x/{id}" || request.ID(inner) != "req_1" || request.ClientAddr(inner).String() != "192.0.2.1" || inner.Value(other{}) != "kept" {
			t.Error("lost on the way")
		}
	})
}
