package server

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"headgate/internal/fault"
)

// The faults of the edge.
var (
	ErrHost   = fault.New(fault.Forbidden, "server.host", "This name is not one of this server's. Use the address it is published at, or have the operator add the host.")
	ErrOrigin = fault.New(fault.Forbidden, "server.origin", "Pages of this origin may not call this server. Have the operator add the origin.")
	ErrRoute  = fault.New(fault.NotFound, "server.no_route", "There is nothing at this path.")
	ErrMethod = fault.New(fault.Method, "server.no_method", "This method is not used here.")
)

// allowlist holds the names this server answers to and the origins whose pages
// may call it. The two are judged apart: a page that rebinds its own name to
// our address sends Host and Origin that agree with each other, and neither is
// ours.
type allowlist struct {
	hosts    map[string]bool // names, or names with a port
	bases    []string        // ".headgate.example"
	origins  map[string]bool
	loopback bool // the listener is reachable from this machine alone
	local    netip.Addr
}

func newAllowlist(cfg Config) (allowlist, []error) {
	a := allowlist{hosts: map[string]bool{}, origins: map[string]bool{}}
	var errs []error
	for _, b := range cfg.BaseDomains {
		b = strings.ToLower(b)
		if !validName(b) {
			errs = append(errs, fmt.Errorf("base-domain: %q is no domain name", b))
		}
		a.hosts[b] = true
		a.bases = append(a.bases, "."+b)
	}
	for _, h := range cfg.Hosts {
		h = strings.ToLower(h)
		name, port := splitHost(h)
		_, badPort := strconv.ParseUint(port, 10, 16)
		_, badAddr := netip.ParseAddr(name)
		if port != "" && badPort != nil || badAddr != nil && !validName(name) {
			errs = append(errs, fmt.Errorf("hosts: %q is no host or host:port", h))
		}
		a.hosts[h] = true
	}
	for _, o := range cfg.Origins {
		u, err := url.Parse(o)
		if err != nil || u.Host == "" || u.Scheme+"://"+u.Host != o || o != strings.ToLower(o) {
			errs = append(errs, fmt.Errorf("origins: %q is no origin; write it like https://console.example", o))
		}
		a.origins[o] = true
	}
	name, _ := splitHost(cfg.Listen)
	a.local, _ = netip.ParseAddr(name)
	a.loopback = name == "localhost" || a.local.IsLoopback()
	return a, errs
}

func validName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if !validLabel(label) || len(label) > 63 {
			return false
		}
	}
	return true
}

func validLabel(label string) bool {
	for i := range len(label) {
		b := label[i]
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' {
			return false
		}
	}
	return label != ""
}

// splitHost parts host and port without allocating. An address loses its
// brackets.
func splitHost(hostport string) (host, port string) {
	host = hostport
	if i := strings.LastIndexByte(hostport, ':'); i >= 0 && strings.IndexByte(hostport[i:], ']') < 0 {
		host, port = hostport[:i], hostport[i+1:]
	}
	if len(host) > 1 && host[0] == '[' && host[len(host)-1] == ']' {
		host = host[1 : len(host)-1]
	}
	return host, port
}

// host reports whether hostport is one of ours. An address is ours when the
// request's connection came in on it: no name resolves to an address literal,
// so no page can be rebound to it.
func (a *allowlist) host(hostport string, r *http.Request) bool {
	hostport = strings.ToLower(hostport)
	if a.hosts[hostport] {
		return true
	}
	name, _ := splitHost(hostport)
	if a.hosts[name] || a.loopback && name == "localhost" {
		return true
	}
	for _, base := range a.bases {
		if slug, ok := strings.CutSuffix(name, base); ok && len(slug) <= 32 && validLabel(slug) {
			return true
		}
	}
	ip, err := netip.ParseAddr(name)
	if err != nil || ip.Zone() != "" {
		return false
	}
	if a.loopback && ip.IsLoopback() {
		return true
	}
	tcp, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && tcp.AddrPort().Addr().Unmap() == ip.Unmap()
}

// origin reports whether the page that made the request, if one did, may.
func (a *allowlist) origin(r *http.Request, secure bool) bool {
	values := r.Header["Origin"]
	if len(values) == 0 {
		return r.Header["Sec-Fetch-Site"] == nil || r.Header.Get("Sec-Fetch-Site") != "cross-site" || safe(r.Method)
	}
	if len(values) > 1 {
		return false
	}
	if a.origins[values[0]] {
		return true
	}
	scheme, hostport, ok := strings.Cut(values[0], "://")
	want := "http"
	if secure {
		want = "https"
	}
	if !ok || scheme != want || !a.host(hostport, r) {
		return false
	}
	_, port := splitHost(hostport)
	_, ours := splitHost(r.Host)
	return portOr(port, secure) == portOr(ours, secure)
}

func safe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

func portOr(port string, secure bool) string {
	switch {
	case port != "":
		return port
	case secure:
		return "443"
	}
	return "80"
}
