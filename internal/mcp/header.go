package mcp

import (
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

const (
	sentinelOpen  = "=?base64?"
	sentinelClose = "?="
)

// AppendHeader appends a value for Mcp-Name or Mcp-Param-*: as it is when a
// header can carry it, else in the base64 form.
func AppendHeader(dst []byte, value string) []byte {
	if plainHeader(value) && !sentinel(value) {
		return append(dst, value...)
	}
	dst = append(dst, sentinelOpen...)
	dst = base64.StdEncoding.AppendEncode(dst, []byte(value))
	return append(dst, sentinelClose...)
}

// EncodeHeader is AppendHeader for texts; a plain value is returned as it is.
func EncodeHeader(value string) string {
	if plainHeader(value) && !sentinel(value) {
		return value
	}
	return string(AppendHeader(nil, value))
}

// DecodeHeader returns what a mirrored header means. It returns ErrBadHeader
// for characters a header must not have, and for base64 that is not canonical
// or not UTF-8.
func DecodeHeader(header string) (string, error) {
	if !sentinel(header) {
		if !plainHeader(header) {
			return "", ErrBadHeader
		}
		return header, nil
	}
	coded := header[len(sentinelOpen) : len(header)-len(sentinelClose)]
	if strings.ContainsAny(coded, "\r\n") { // which the decoder would skip
		return "", ErrBadHeader
	}
	text, err := base64.StdEncoding.Strict().DecodeString(coded)
	if err != nil || !utf8.Valid(text) {
		return "", ErrBadHeader
	}
	return string(text), nil
}

// plainHeader reports whether a header carries value unharmed: visible ASCII
// with spaces and tabs only inside.
func plainHeader(value string) bool {
	for i := range len(value) {
		if c := value[i]; (c < ' ' && c != '\t') || c > '~' {
			return false
		}
	}
	return value == "" || (value[0] > ' ' && value[len(value)-1] > ' ')
}

func sentinel(value string) bool {
	return len(value) >= len(sentinelOpen)+len(sentinelClose) &&
		strings.HasPrefix(value, sentinelOpen) && strings.HasSuffix(value, sentinelClose)
}

// MatchName reports whether an Mcp-Name header says what the body says. v is
// the raw string in the body.
func MatchName(header string, b []byte, v Span) bool {
	if sentinel(header) || !plainHeader(header) {
		text, err := DecodeHeader(header)
		return err == nil && Equal(b, v, text)
	}
	return Equal(b, v, header)
}
