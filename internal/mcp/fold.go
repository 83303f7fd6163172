package mcp

import (
	"strings"
	"unicode/utf8"
)

// The keys that must not be met in another form, by level. Each is its own
// lower-case form here.
var (
	envelopeForms = []string{"jsonrpc", "id", "method", "params", "result", "error"}
	paramsForms   = []string{
		"name", "uri", "arguments", "_meta", "cursor", "requeststate", "inputresponses", "taskid", "requestid", "progresstoken",
	}
	metaForms = []string{
		strings.ToLower(MetaProgressToken), strings.ToLower(MetaProtocolVersion), strings.ToLower(MetaClientCapabilities),
		strings.ToLower(MetaClientInfo), strings.ToLower(MetaLogLevel), strings.ToLower(MetaSubscriptionID),
	}
)

// resembles reports whether a lenient parser could take key for a known one:
// it differs only in case, or in letters that folding makes the same.
func resembles(lv level, key []byte, wide bool) bool {
	forms := envelopeForms
	switch lv {
	case inParams:
		forms = paramsForms
	case inMeta:
		forms = metaForms
	}
	if wide {
		return resemblesWide(forms, key)
	}
	for _, form := range forms {
		if len(form) == len(key) && equalLower(form, key) {
			return true
		}
	}
	return false
}

func equalLower(form string, key []byte) bool {
	for i, c := range key {
		if c-'A' < 26 {
			c |= 0x20
		}
		if c != form[i] {
			return false
		}
	}
	return true
}

// narrow returns the ASCII letters that some case mapping makes of a character
// beyond ASCII: long s, the Kelvin sign, dotted and dotless i, and ligatures.
func narrow(r rune) (string, bool) {
	switch r {
	case '\u017f':
		return "s", true
	case '\u212a':
		return "k", true
	case '\u0130', '\u0131':
		return "i", true
	case '\u0307': // the dot that lower-casing a dotted I leaves behind
		return "", true
	case '\u00df', '\u1e9e':
		return "ss", true
	case '\ufb00':
		return "ff", true
	case '\ufb01':
		return "fi", true
	case '\ufb02':
		return "fl", true
	case '\ufb03':
		return "ffi", true
	case '\ufb04':
		return "ffl", true
	case '\ufb05', '\ufb06':
		return "st", true
	}
	return "", false
}

// resemblesWide is resembles for keys that are not ASCII only.
func resemblesWide(forms []string, key []byte) bool {
	var buf [3 * len(MetaClientCapabilities)]byte
	if len(key) > len(buf) {
		return false
	}
	ascii := buf[:0]
	for _, r := range string(key) {
		text, ok := narrow(r)
		switch {
		case r < utf8.RuneSelf:
			ascii = append(ascii, byte(r))
		case !ok:
			return false // no mapping makes this an ASCII letter
		default:
			ascii = append(ascii, text...)
		}
	}
	for _, form := range forms {
		if len(form) == len(ascii) && equalLower(form, ascii) {
			return true
		}
	}
	return false
}
