package egress

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ProxyPort is where the HTTP proxy listens inside a sandbox.
const ProxyPort = 3128

const (
	maxRules = 64
	maxPorts = 8
)

// Rules are the hosts one child may reach.
type Rules struct {
	rules []rule
	ports []uint16 // of names that are whole, sorted
}

type rule struct {
	name  string // lower case
	below bool   // every name below it, not itself
	port  uint16 // 0 is 80 and 443
}

// Host is an allowed name and the loopback address that stands for it inside.
type Host struct {
	Name string
	Addr netip.Addr
}

// Parse reads names such as api.example.com, *.example.com and
// api.example.com:8443. Addresses are no names.
func Parse(list []string) (*Rules, error) {
	if len(list) > maxRules {
		return nil, fmt.Errorf("at most %d hosts can be allowed", maxRules)
	}
	r := &Rules{}
	for _, text := range list {
		entry, err := parse(text)
		if err != nil {
			return nil, err
		}
		r.rules = append(r.rules, entry)
		if !entry.below {
			r.ports = append(r.ports, entry.ports()...)
		}
	}
	slices.Sort(r.ports)
	r.ports = slices.Compact(r.ports)
	if len(r.ports) > maxPorts {
		return nil, fmt.Errorf("the allowed hosts have more than %d different ports", maxPorts)
	}
	return r, nil
}

func parse(text string) (rule, error) {
	var r rule
	name, port, hasPort := strings.Cut(strings.ToLower(text), ":")
	if hasPort {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || n == ProxyPort {
			return r, fmt.Errorf("the port of an allowed host is not valid")
		}
		r.port = uint16(n)
	}
	name, r.below = strings.CutPrefix(name, "*.")
	r.name = name
	if !validName(name) {
		return r, fmt.Errorf("an allowed host must be a name such as api.example.com or *.example.com, with an optional port")
	}
	return r, nil
}

func validName(name string) bool {
	if len(name) > 253 || !strings.ContainsFunc(name, func(c rune) bool { return 'a' <= c && c <= 'z' }) {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.ContainsFunc(label, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_'
		}) {
			return false
		}
	}
	_, err := netip.ParseAddr(name)
	return err != nil
}

func (r rule) ports() []uint16 {
	if r.port != 0 {
		return []uint16{r.port}
	}
	return []uint16{80, 443}
}

// Empty reports whether nothing is allowed.
func (r *Rules) Empty() bool { return len(r.rules) == 0 }

// Allows reports whether the name may be reached at the port.
func (r *Rules) Allows(name string, port uint16) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	return slices.ContainsFunc(r.rules, func(e rule) bool {
		match := name == e.name
		if e.below {
			match = strings.HasSuffix(name, "."+e.name)
		}
		return match && slices.Contains(e.ports(), port)
	})
}

// Ports are those on which whole names are reached directly.
func (r *Rules) Ports() []uint16 { return r.ports }

// Hosts are the whole names with their loopback addresses.
func (r *Rules) Hosts() []Host {
	var hosts []Host
	for i, e := range r.rules {
		if !e.below && !slices.ContainsFunc(hosts, func(h Host) bool { return h.Name == e.name }) {
			hosts = append(hosts, Host{e.name, netip.AddrFrom4([4]byte{127, 77, 0, byte(i + 1)})})
		}
	}
	return hosts
}

// named returns the name that stands behind a loopback address.
func (r *Rules) named(addr netip.Addr) string {
	for _, h := range r.Hosts() {
		if h.Addr == addr.Unmap() {
			return h.Name
		}
	}
	return ""
}

// Env adds the variables that point programs at the proxy.
func Env(env map[string]string) {
	proxy := fmt.Sprintf("http://127.0.0.1:%d", ProxyPort)
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"} {
		env[name] = proxy
	}
	env["NODE_USE_ENV_PROXY"] = "1"
}
