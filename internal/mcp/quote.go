package mcp

import (
	"bytes"
	"unicode/utf8"
)

// Bytes returns the text of a JSON string without copying it. It reports false
// when v is no string, or has escapes, so that its text is not in b.
func Bytes(b []byte, v Span) ([]byte, bool) {
	if !isString(b, v) {
		return nil, false
	}
	text := b[v.Start+1 : v.End-1 : v.End-1]
	return text, bytes.IndexByte(text, '\\') < 0
}

// String decodes a JSON string of a scanned message. It returns ErrNotString
// for any other value.
func String(b []byte, v Span) (string, error) {
	if !isString(b, v) {
		return "", ErrNotString
	}
	if text, ok := Bytes(b, v); ok {
		return string(text), nil
	}
	return string(appendUnquoted(nil, b[v.Start+1:v.End-1])), nil
}

// Equal reports whether v is a JSON string that means text.
func Equal(b []byte, v Span, text string) bool {
	if raw, ok := Bytes(b, v); ok {
		return string(raw) == text
	}
	s, err := String(b, v)
	return err == nil && s == text
}

// IsNull reports whether v is absent or the JSON null.
func IsNull(b []byte, v Span) bool { return v.Empty() || b[v.Start] == 'n' }

func isString(b []byte, v Span) bool { return v.Len() >= 2 && b[v.Start] == '"' }

// appendUnquoted decodes the inside of a valid JSON string.
func appendUnquoted(dst, text []byte) []byte {
	for i := 0; i < len(text); {
		plain := bytes.IndexByte(text[i:], '\\')
		if plain < 0 || i+plain+1 >= len(text) {
			return append(dst, text[i:]...)
		}
		dst = append(dst, text[i:i+plain]...)
		i += plain
		if text[i+1] != 'u' {
			dst = append(dst, unescape[text[i+1]])
			i += 2
			continue
		}
		r := hex4(text, i+2)
		i += 6
		if r >= 0xD800 && r <= 0xDBFF {
			r = 0x10000 + (r-0xD800)<<10 + hex4(text, i+2) - 0xDC00
			i += 6
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string. Invalid UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			if r, size = utf8.DecodeRuneInString(s[i:]); r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			if c >= utf8.RuneSelf {
				dst = append(dst, "\ufffd"...)
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
		}
		i += size
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}
