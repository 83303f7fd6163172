package netguard

import (
	"slices"
	"strings"
)

const (
	maxHeaderName  = 128
	maxHeaderValue = 8192
)

// ownHeaders frame a message, belong to one hop, or are written by the gateway
// from what it knows. Proxy-* and Mcp-* are refused by prefix.
var ownHeaders = []string{
	"accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect",
	"host", "http2-settings", "keep-alive", "last-event-id", "te", "trailer", "transfer-encoding", "upgrade", "via",
}

// CheckHeader returns ErrHeader unless the header may be configured for an
// upstream. Cookie and Authorization may.
func CheckHeader(name, value string) error {
	if name == "" || len(name) > maxHeaderName || strings.ContainsFunc(name, notToken) {
		return ErrHeader.Saying("A header name is 1 to %d letters, digits, hyphens or underscores.", maxHeaderName)
	}
	lower := strings.ToLower(name)
	if slices.Contains(ownHeaders, lower) || strings.HasPrefix(lower, "proxy-") || strings.HasPrefix(lower, "mcp-") {
		return ErrHeader.Saying("This header is written by the gateway or belongs to the connection, so it cannot be set. Leave it out.")
	}
	if len(value) > maxHeaderValue {
		return ErrHeader.Saying("A header value is at most %d characters.", maxHeaderValue)
	}
	if strings.ContainsFunc(value, notPrintable) || strings.Trim(value, " \t") != value {
		return ErrHeader.Saying("A header value is printable ASCII on one line, without spaces around it.")
	}
	return nil
}

func notToken(r rune) bool {
	return r <= ' ' || r >= 0x7f || strings.ContainsRune("\"(),/:;<=>?@[\\]{}", r)
}

func notPrintable(r rune) bool { return r != '\t' && (r < ' ' || r >= 0x7f) }
