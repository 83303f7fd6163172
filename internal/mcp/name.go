package mcp

import (
	"crypto/sha256"
	"encoding/base32"
	"strings"
)

// MaxName is the length that every client accepts for a tool's name.
const MaxName = 64

// nameHash is the length of the hash at a changed name's end: a digit, which
// words do not start with, and nine characters of base32.
const nameHash = 10

// MergedName returns the name of a server's tool or prompt at an endpoint that
// merges servers: <server>_<name>, at most MaxName characters of [A-Za-z0-9_.-].
// A name that had to be changed ends in a hash of the original, and so does one
// that looks as if it did: two different names never become the same.
func MergedName(server, name string) string {
	merged := server + "_" + name
	if unchanged(merged, server, name) {
		return merged
	}
	sum := sha256.Sum256([]byte(server + "\x00" + name))
	hash := strings.ToLower(base32.StdEncoding.EncodeToString(sum[:]))[:nameHash-1]
	kept := merged[:min(len(merged), MaxName-1-nameHash)]
	return strings.Map(nameRune, strings.ToValidUTF8(kept, "")) + "_" + string('2'+sum[31]%6) + hash
}

// SplitMerged takes a merged name apart. It is not ok when the name had to be
// changed: then it does not say what it was made of.
func SplitMerged(merged string) (server, name string, ok bool) {
	server, name, _ = strings.Cut(merged, "_")
	return server, name, unchanged(merged, server, name)
}

// unchanged reports whether <server>_<name> is a merged name as it is.
func unchanged(merged, server, name string) bool {
	return server != "" && name != "" && len(merged) <= MaxName && !strings.Contains(server, "_") &&
		clean(merged) && !looksHashed(merged)
}

func clean(name string) bool {
	for i := range len(name) {
		if !nameByte(name[i]) {
			return false
		}
	}
	return true
}

func nameByte(c byte) bool {
	return c-'a' < 26 || c-'A' < 26 || c-'0' < 10 || c == '_' || c == '.' || c == '-'
}

func nameRune(r rune) rune {
	if r < 0x80 && nameByte(byte(r)) {
		return r
	}
	return '_'
}

// looksHashed reports whether a name has the form of a changed one.
func looksHashed(name string) bool {
	tail := len(name) - nameHash
	if tail < 1 || name[tail-1] != '_' {
		return false
	}
	for _, c := range []byte(name[tail:]) {
		if c-'a' >= 26 && c-'2' >= 6 {
			return false
		}
	}
	return name[tail] <= '9'
}
