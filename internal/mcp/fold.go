package mcp

import (
	"bytes"
	"strings"
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

// wideForms are the characters that some case mapping turns into ASCII letters:
// long s, the Kelvin sign, dotted and dotless i, and ligatures.
var wideForms = []string{
	"\u017f", "s", "\u212a", "k", "\u0130", "i", "\u0131", "i", "\u0307", "",
	"\u00df", "ss", "\u1e9e", "ss", "\ufb00", "ff", "\ufb01", "fi", "\ufb02", "fl",
	"\ufb03", "ffi", "\ufb04", "ffl", "\ufb05", "st", "\ufb06", "st",
}

func resemblesWide(forms []string, key []byte) bool {
	if len(key) > 4*len(MetaClientCapabilities) {
		return false
	}
	for i := 0; i < len(wideForms); i += 2 {
		key = bytes.ReplaceAll(key, []byte(wideForms[i]), []byte(wideForms[i+1]))
	}
	for _, form := range forms {
		if len(form) == len(key) && equalLower(form, key) {
			return true
		}
	}
	return false
}
