package oauth

import (
	"slices"
	"strings"

	"headgate/internal/upstream/discovery"
)

// offline is the scope with which OpenID Connect gives refresh tokens.
const offline = "offline_access"

// scopes selects what to ask for: what the challenge names, else all that the
// resource's metadata names; known ones beside them. Where none is named, the
// authorization server decides. A refresh token is asked for where that has a
// scope of its own.
func (c *Client) scopes(r *Resource, ch discovery.Challenge, known []string) []string {
	list := slices.DeleteFunc(merge(known, nil), func(s string) bool { return s == offline }) // another issuer may not know it
	if ch.Scope != "" {
		list = merge(list, words(ch.Scope))
	} else {
		list = merge(list, r.Scopes)
	}
	if len(list) > 0 && !c.Machine && c.Vouched == nil && slices.Contains(r.Issuer.Scopes, offline) {
		list = merge(list, []string{offline})
	}
	return list
}

// merge returns the scopes of both, each once, the first ones first. What is no
// scope is passed over: it would end up in a URL that people look at.
func merge(a, b []string) []string {
	var out []string
	for _, s := range slices.Concat(a, b) {
		if ScopeOK(s) && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// more reports whether asked holds anything beyond known.
func more(asked, known []string) bool {
	return slices.ContainsFunc(asked, func(s string) bool { return s != offline && !slices.Contains(known, s) })
}

func words(scope string) []string { return strings.Fields(scope) }

// ScopeOK reports whether a text is one scope (RFC 6749, 3.3).
func ScopeOK(s string) bool {
	return s != "" && len(s) <= 256 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }) < 0
}
