package rest

import (
	"bytes"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep a body may nest; the Gateway's own limit.
const maxDepth = 64

// checkObject refuses every body that two JSON parsers could read differently
// (duplicate names, broken UTF-8, text after the value), that is no object, or
// that holds what no store keeps (NUL). encoding/json alone would take the
// last duplicate, mend the UTF-8 and fold the case of names; the schema check
// after this one refuses names of the wrong case.
func checkObject(body []byte) error {
	if !utf8.Valid(body) || !json.Valid(body) {
		return ErrUnreadable
	}
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); trimmed[0] != '{' {
		return ErrUnreadable
	}
	return checkTokens(json.NewDecoder(bytes.NewReader(body)))
}

// checkTokens walks a valid document. Each open object has its set of names;
// an array has nil.
func checkTokens(dec *json.Decoder) error {
	dec.UseNumber()
	var open []map[string]struct{}
	wantName := false
	for {
		tok, err := dec.Token()
		if err != nil {
			return ErrUnreadable // only a document json.Valid and the decoder disagree on
		}
		switch t := tok.(type) {
		case json.Delim:
			switch t {
			case '{':
				open = append(open, map[string]struct{}{})
			case '[':
				open = append(open, nil)
			default:
				open = open[:len(open)-1]
			}
			if len(open) > maxDepth {
				return ErrUnreadable.Saying("The body nests deeper than %d levels.", maxDepth)
			}
		case string:
			if strings.IndexByte(t, 0) >= 0 {
				return ErrUnreadable.Saying("The body holds a NUL character.")
			}
			if wantName {
				names := open[len(open)-1]
				if _, dup := names[t]; dup {
					return ErrUnreadable.Saying("The body names a field twice.")
				}
				names[t] = struct{}{}
				wantName = false
				continue
			}
		}
		if len(open) == 0 {
			return nil
		}
		wantName = open[len(open)-1] != nil
	}
}
