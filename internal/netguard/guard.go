package netguard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"
	"time"
)

const (
	connectTimeout = 10 * time.Second
	maxAddresses   = 8 // of one name that are tried
)

// Policy says which closed networks are open after all.
type Policy struct {
	Allow    []netip.Prefix // networks opened by the operator
	Loopback bool           // this host; for a server that listens on loopback alone
}

// Resolver finds the addresses of a host name; network is "ip", "ip4" or "ip6".
type Resolver func(ctx context.Context, network, host string) ([]netip.Addr, error)

// Guard checks and dials. It is safe for concurrent use.
type Guard struct {
	allow   []netip.Prefix
	resolve Resolver
}

// New returns a guard with the policy that uses the system's name resolution.
func New(p Policy) *Guard { return NewWithResolver(p, net.DefaultResolver.LookupNetIP) }

// NewWithResolver is New with another source of addresses.
func NewWithResolver(p Policy, resolve Resolver) *Guard {
	g := &Guard{allow: slices.Clone(p.Allow), resolve: resolve}
	if p.Loopback {
		g.allow = append(g.allow, loopback...)
	}
	return g
}

// CheckAddr returns ErrBlocked unless connections to a are allowed.
func (g *Guard) CheckAddr(a netip.Addr) error {
	if g.open(a) {
		return nil
	}
	return ErrBlocked.Because(fmt.Errorf("address %s is closed", a))
}

func (g *Guard) open(a netip.Addr) bool {
	if !a.IsValid() || a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if anyContains(metadata, a) {
		return slices.Contains(g.allow, netip.PrefixFrom(a, a.BitLen()))
	}
	for _, inner := range embedded(a) {
		if !g.open(inner) {
			return false
		}
	}
	switch {
	case anyContains(g.allow, a):
		return true
	case anyContains(special, a):
		return false
	default:
		return a.Is4() || globalUnicast.Contains(a) || nat64.Contains(a)
	}
}

// DialContext connects to addr, "host:port". It resolves the name once, checks
// every answer, and connects to exactly one of those addresses. Every failure
// is ErrBlocked; its cause holds the context's error when that ended the try.
func (g *Guard) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := g.dial(ctx, network, addr)
	if err == nil {
		return conn, nil
	}
	if ctx.Err() != nil {
		err = ctx.Err() // tells a deadline from a refusal, whatever net made of it
	}
	return nil, ErrBlocked.Because(fmt.Errorf("dial %s: %w", addr, err))
}

func (g *Guard) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	family, ok := map[string]string{"tcp": "ip", "tcp4": "ip4", "tcp6": "ip6"}[network]
	if !ok {
		return nil, errors.New("network " + network + " is not TCP")
	}
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	port, err := checkPort(portText)
	if err != nil {
		return nil, err
	}
	addrs, err := g.addresses(ctx, family, host)
	if err != nil {
		return nil, err
	}
	return g.connect(ctx, addrs, port)
}

// addresses returns the addresses of host, all of them checked. One closed
// answer spoils the lot: an honest name has none, and picking the others would
// let a rebinding name server try until it wins.
func (g *Guard) addresses(ctx context.Context, family, host string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	if literal, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{literal}
	} else if err := checkHostname(host); err != nil {
		return nil, err
	} else if addrs, err = g.resolve(ctx, family, host); err != nil {
		return nil, err
	}
	if len(addrs) == 0 {
		return nil, errors.New("no address")
	}
	for i, a := range addrs {
		if err := g.CheckAddr(a); err != nil {
			return nil, err
		}
		addrs[i] = a.Unmap()
	}
	return addrs[:min(len(addrs), maxAddresses)], nil
}

// connect tries the addresses in order; each gets its share of the time left,
// so that a silent first one does not use up that of the others.
func (g *Guard) connect(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, error) {
	dialer := net.Dialer{ControlContext: g.control}
	var first error
	for i, a := range addrs {
		deadline, _ := ctx.Deadline()
		share := max(time.Until(deadline)/time.Duration(len(addrs)-i), time.Second)
		try, cancel := context.WithTimeout(ctx, share)
		conn, err := dialer.DialTCP(try, "tcp", netip.AddrPort{}, netip.AddrPortFrom(a, port))
		cancel()
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, first
}

// control is the last look, at the address the socket is about to connect to.
func (g *Guard) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return g.CheckAddr(ap.Addr())
}

func checkPort(text string) (uint16, error) {
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 || text[0] == '0' {
		return 0, errors.New("the port is not a number from 1 to 65535")
	}
	if slices.Contains(closedPorts, uint16(n)) {
		return 0, errors.New("the port belongs to another protocol than HTTP")
	}
	return uint16(n), nil
}
