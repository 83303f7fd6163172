package tenancy

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/unicode/norm"
)

var slugForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,31}$`)

func validSlug(s string) bool { return slugForm.MatchString(s) }

// reserved would be mistaken for something of ours when an organization is
// chosen by host name.
var reserved = []string{"admin", "api", "app", "docs", "installation", "localhost", "mail", "manage", "mcp", "oauth", "operator", "platform", "static", "status", "t", "w", "webhooks", "www"}

// slugOf makes a slug of a name: letters lose their marks, everything else
// becomes a dash.
func slugOf(name, otherwise string) string {
	var b strings.Builder
	for _, r := range norm.NFKD.String(strings.ToLower(name)) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case unicode.Is(unicode.Mn, r):
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 26 { // leaves room for a number or a random ending
			break
		}
	}
	s := strings.Trim(b.String(), "-")
	if s == "" || slices.Contains(reserved, s) {
		return otherwise
	}
	return s
}

func validName(s string) bool {
	return s == strings.TrimSpace(s) && s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= 100 && !strings.ContainsFunc(s, unicode.IsControl)
}

// NormalEmail returns the one form in which an address is stored and
// compared: trimmed, NFC, lower case, the domain in ASCII. It refuses what is
// no plain address, and letters that would turn into ASCII ones (the Kelvin
// sign): those mailboxes belong to somebody else.
func NormalEmail(text string) (string, error) {
	text = strings.TrimSpace(text)
	if len(text) > 254 || !utf8.ValidString(text) {
		return "", ErrEmail
	}
	for _, r := range text {
		if r >= utf8.RuneSelf && strings.ContainsFunc(fold(string(r)), func(n rune) bool { return n < utf8.RuneSelf }) {
			return "", ErrEmail
		}
	}
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return "", ErrEmail
	}
	local := fold(text[:at])
	domain, ok := asciiDomain(fold(text[at+1:]))
	if !ok || !validLocal(local) || !validDomain(domain) || len(local)+len(domain) > 253 {
		return "", ErrEmail
	}
	return local + "@" + domain, nil
}

// asciiDomain returns a domain as DNS knows it. IDNA drops and replaces
// characters on the way (zero width, full width); what would not come back as
// it went in is refused.
func asciiDomain(domain string) (string, bool) {
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return "", false
	}
	back, err := idna.Lookup.ToUnicode(ascii)
	return ascii, err == nil && back == domain || ascii == domain
}

func fold(s string) string { return norm.NFC.String(strings.ToLower(norm.NFC.String(s))) }

func validLocal(s string) bool {
	if s == "" || len(s) > 64 || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		if r >= utf8.RuneSelf {
			return !unicode.In(r, unicode.L, unicode.M, unicode.N)
		}
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-/=?^_`{|}~.", r))
	})
}

func validDomain(s string) bool {
	if s == "localhost" {
		return true
	}
	labels := strings.Split(s, ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || l[0] == '-' || l[len(l)-1] == '-' || strings.ContainsFunc(l, func(r rune) bool {
			return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-')
		}) {
			return false
		}
	}
	return len(labels) > 1
}
