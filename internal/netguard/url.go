package netguard

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

const maxURL = 2048

// closedPorts are those browsers refuse, and those of databases, caches,
// brokers and control planes: a text protocol there might take an HTTP request
// for its own commands.
var closedPorts = []uint16{
	1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104,
	109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 138, 139, 143, 161, 162, 179, 389, 427, 445, 465, 512, 513, 514,
	515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 623, 636, 873, 989, 990, 993, 995, 1099, 1433, 1434,
	1521, 1719, 1720, 1723, 1883, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 3659, 4045, 4190, 5060, 5061, 5222,
	5432, 5671, 5672, 5900, 6000, 6379, 6380, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 7199,
	8883, 9042, 9092, 9160, 9300, 10080, 10250, 10255, 11211, 26379, 27017, 27018, 27019,
}

// CheckURL parses a URL that somebody configured. It returns ErrURL, with what
// to change, unless it is plain http or https, and ErrBlocked for a literal
// address in a closed network. The result's host is in lower case.
func (g *Guard) CheckURL(raw string) (*url.URL, error) {
	if len(raw) > maxURL {
		return nil, ErrURL.Saying("This URL is longer than %d characters. Shorten it.", maxURL)
	}
	for _, c := range []byte(raw) {
		if c <= ' ' || c >= 0x7f || c == '\\' {
			return nil, ErrURL.Saying("This URL holds a space, a backslash or a character outside ASCII. Percent-encode it; write host names in their xn-- form.")
		}
	}
	if strings.Contains(raw, "#") {
		return nil, ErrURL.Saying("This URL has a fragment (the part after #). Leave it out.")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, ErrURL // the parser's text repeats the URL, and with it perhaps a password
	}
	if err := g.checkParts(u); err != nil {
		return nil, err
	}
	u.Host = strings.ToLower(u.Host)
	return u, nil
}

// checkParts holds the rules that need no text; HTTPClient applies them to
// every request, so that a URL nobody checked is no way around them.
func (g *Guard) checkParts(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return ErrURL.Saying("This URL does not begin with http:// or https://. Give one that does.")
	}
	if u.User != nil {
		return ErrURL.Saying("This URL holds a user name or password. Leave it out and configure a header or a secret.")
	}
	host := u.Hostname()
	if u.Opaque != "" || host == "" {
		return ErrURL.Saying("This URL has no host name. Give one such as https://mcp.example.com/mcp.")
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if port == "" {
			return ErrURL.Saying("This URL has a colon but no port. Give a port or leave the colon out.")
		}
		if _, err := checkPort(port); err != nil {
			return ErrURL.Saying("This port cannot be used: it is not a number from 1 to 65535, or is that of another protocol than HTTP. Serve on another port.")
		}
	}
	if strings.HasPrefix(u.Host, "[") {
		a, err := netip.ParseAddr(host)
		if err != nil || !a.Is6() || a.Zone() != "" {
			return ErrURL.Saying("The address in brackets is not a plain IPv6 address.")
		}
		return g.CheckAddr(a)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return g.CheckAddr(a)
	}
	if err := checkHostname(host); err != nil {
		return ErrURL.Saying("The host name of this URL cannot be used: %s.", err)
	}
	return nil
}

// checkHostname accepts a DNS name in its usual form. A last label that looks
// like a number is refused, because resolvers read 127.1, 0x7f.1 and
// 2130706433 as addresses.
func checkHostname(host string) error {
	if len(host) > 253 {
		return errors.New("it is longer than 253 characters")
	}
	last := ""
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return errors.New("a part between dots is empty or longer than 63 characters")
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return errors.New("a part begins or ends with a hyphen")
		}
		for _, c := range []byte(label) {
			if !isAlphanumeric(c) && c != '-' && c != '_' {
				return errors.New("it holds other characters than letters, digits, hyphens and dots")
			}
		}
		last = label
	}
	if last[0] >= '0' && last[0] <= '9' && looksNumeric(last) {
		return errors.New("it ends in a number; write an IPv4 address as four decimal numbers without leading zeros")
	}
	return nil
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func looksNumeric(label string) bool {
	label = strings.ToLower(label)
	if hex, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}
