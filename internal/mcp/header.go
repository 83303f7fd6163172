package mcp

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	sentinelOpen  = "=?base64?"
	sentinelClose = "?="
	maxSafeInt    = 1<<53 - 1 // what every JSON parser reads exactly
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

// MatchParam reports whether an Mcp-Param-* header says what an argument says.
// v is the raw JSON value: a string is compared decoded, a whole number as a
// number, a boolean as its word. Null and everything else have no header.
func MatchParam(header string, b []byte, v Span) bool {
	if v.Empty() {
		return false
	}
	switch raw := v.Of(b); raw[0] {
	case '"':
		return MatchName(header, b, v)
	case 't', 'f':
		return header == string(raw)
	default:
		want, ok := wholeNumber(string(raw))
		got, ok2 := wholeNumber(header)
		return ok && ok2 && got == want
	}
}

// AppendParam appends the Mcp-Param-* value of an argument. It reports false
// when the argument has none: null, fractions, objects, arrays, and whole
// numbers beyond what every parser reads exactly.
func AppendParam(dst, b []byte, v Span) ([]byte, bool) {
	if v.Empty() {
		return dst, false
	}
	switch raw := v.Of(b); raw[0] {
	case '"':
		text, err := String(b, v)
		return AppendHeader(dst, text), err == nil
	case 't', 'f':
		return append(dst, raw...), true
	default:
		n, ok := wholeNumber(string(raw))
		if !ok {
			return dst, false
		}
		return strconv.AppendInt(dst, n, 10), true
	}
}

// wholeNumber reads 42, -7 and 42.0. Exponents are not taken.
func wholeNumber(text string) (int64, bool) {
	whole, fraction, dotted := strings.Cut(text, ".")
	if dotted && (fraction == "" || strings.Trim(fraction, "0") != "") {
		return 0, false
	}
	bare := strings.TrimPrefix(whole, "-")
	if bare == "" || bare[0]-'0' > 9 || (bare[0] == '0' && len(bare) > 1) {
		return 0, false
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	return n, err == nil && n >= -maxSafeInt && n <= maxSafeInt
}
