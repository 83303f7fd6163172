package apikey

import (
	"crypto/rand"
	"hash/crc32"
	"strings"

	"headgate/internal/access"
)

// Prefix is the start of a key's text, and the kind it stands for.
type Prefix struct {
	Text string
	Kind access.Kind
}

// prefixes is ordered so that the first that fits is the longest that does.
var prefixes = [...]Prefix{
	{"pk_live_", access.PublishableKey},
	{"pk_test_", access.PublishableKey},
	{"sk_live_", access.SecretKey},
	{"sk_test_", access.SecretKey},
	{"mcp_sk_", access.PersonalKey},
	{"mcp_", access.AccountKey},
	{"sk_", access.DiagnosticsKey},
	{"ok_", access.OrganizationKey},
	{"wk_", access.WorkspaceKey},
	{"op_", access.OperatorKey},
}

const (
	alphabet     = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	randomChars  = 30 // 178 bits
	checkChars   = 6
	shownChars   = 12 // of the front
	shownAtEnd   = 4
	longestInput = 64 // longer than any key; more is not looked at
)

// Prefixes returns every prefix, longer ones before those they begin with.
func Prefixes() []Prefix {
	all := prefixes
	return all[:]
}

// KindOf returns the kind a text claims by its prefix alone. It says nothing
// about whether such a key exists, and known is false when no prefix fits.
func KindOf(value string) (kind access.Kind, known bool) {
	p, known := prefixOf(value)
	return p.Kind, known
}

func prefixOf(value string) (Prefix, bool) {
	for _, p := range prefixes {
		if strings.HasPrefix(value, p.Text) {
			return p, true
		}
	}
	return Prefix{}, false
}

// Parse reports whether the text has the form of a key, checksum included, and
// of which kind. It allocates nothing.
func Parse(value string) (kind access.Kind, ok bool) {
	if len(value) > longestInput {
		return access.Anonymous, false
	}
	p, known := prefixOf(value)
	if !known || len(value) != len(p.Text)+randomChars+checkChars {
		return access.Anonymous, false
	}
	body := len(value) - checkChars
	for i := len(p.Text); i < body; i++ {
		if !base62(value[i]) {
			return access.Anonymous, false
		}
	}
	if check := checksum(value[:body]); string(check[:]) != value[body:] {
		return access.Anonymous, false
	}
	return p.Kind, true
}

func base62(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}

// checksum is the CRC-32 of the text as six base62 digits. The loop is ours
// because crc32.ChecksumIEEE makes its argument escape.
func checksum(text string) (digits [checkChars]byte) {
	crc := ^uint32(0)
	for i := range len(text) {
		crc = crc32.IEEETable[byte(crc)^text[i]] ^ crc>>8
	}
	crc = ^crc
	for i := checkChars - 1; i >= 0; i-- {
		digits[i] = alphabet[crc%62]
		crc /= 62
	}
	return digits
}

// generate returns the text of a new key.
func generate(prefix string) string {
	b := make([]byte, 0, longestInput)
	b = append(b, prefix...)
	for len(b) < len(prefix)+randomChars {
		var pool [2 * randomChars]byte
		_, _ = rand.Read(pool[:]) // never fails on supported systems
		for _, r := range pool {
			// 248 is the largest multiple of 62: the rest would favour some digits.
			if r < 248 && len(b) < len(prefix)+randomChars {
				b = append(b, alphabet[r%62])
			}
		}
	}
	check := checksum(string(b))
	return string(append(b, check[:]...))
}

func prefixFor(kind access.Kind) (string, bool) {
	switch kind {
	case access.PersonalKey, access.DiagnosticsKey, access.AccountKey, access.OrganizationKey, access.WorkspaceKey, access.OperatorKey:
		for _, p := range prefixes {
			if p.Kind == kind {
				return p.Text, true
			}
		}
	}
	return "", false
}

// kindOfWord is the inverse of Kind.String for the kinds that are keys.
func kindOfWord(word string) access.Kind {
	for _, p := range prefixes {
		if p.Kind.String() == word {
			return p.Kind
		}
	}
	return access.Anonymous
}

// RefuseManaging is the guard of every key-management route: keys do not
// manage keys. It judges the credential's prefix alone and before any look-up,
// so that a valid, a revoked and an invented key get the same answer.
// Organization keys may pass; operator keys, sessions and everything else are
// for the permission to judge.
func RefuseManaging(credential string) error {
	switch kind, _ := KindOf(credential); kind {
	case access.PersonalKey, access.DiagnosticsKey, access.AccountKey, access.WorkspaceKey, access.PublishableKey, access.SecretKey:
		return access.ErrNeedSession
	}
	return nil
}
