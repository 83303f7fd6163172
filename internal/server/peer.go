package server

import (
	"context"
	"net"
	"net/http"
	"net/netip"
)

// peer is the context of a connection. Who is at its other end is read once,
// not for each request.
type peer struct {
	context.Context
	addr netip.Addr
}

type peerKey struct{}

// Value implements context.Context.
func (p *peer) Value(k any) any {
	if k == (peerKey{}) {
		return p
	}
	return p.Context.Value(k)
}

func connContext(ctx context.Context, c net.Conn) context.Context {
	return &peer{ctx, address(c.RemoteAddr().String())}
}

// peerOf returns who sent the request to us.
func peerOf(r *http.Request) netip.Addr {
	if p, ok := r.Context().Value(peerKey{}).(*peer); ok {
		return p.addr
	}
	return address(r.RemoteAddr)
}

// address reads host and port; the zero Addr when they are none of IP.
func address(remote string) netip.Addr {
	a, _ := netip.ParseAddrPort(remote)
	return a.Addr().Unmap()
}
