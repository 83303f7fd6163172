package mcp

import "strconv"

// Edit replaces a span of a message. An empty span inserts; empty bytes delete.
type Edit struct {
	Span
	With []byte
}

// Splice appends b with the edits applied to dst, and returns dst. The edits
// must be in order and must not overlap; anything else is a bug and panics.
func Splice(dst, b []byte, edits ...Edit) []byte {
	at := 0
	for _, e := range edits {
		if e.Start < at || e.End < e.Start {
			panic("mcp: splice with edits out of order")
		}
		dst = append(dst, b[at:e.Start]...)
		dst = append(dst, e.With...)
		at = e.End
	}
	return append(dst, b[at:]...)
}

// SetMember returns the edit that gives an object the member key: raw, in the
// place of the one it has, else as its first.
func SetMember(b []byte, object Span, key string, raw []byte) Edit {
	empty := true
	for m := range Members(b, object) {
		if m.Is(b, key) {
			return Edit{m.Value, raw}
		}
		empty = false
	}
	with := append(AppendString(make([]byte, 0, len(key)+len(raw)+4), key), ':')
	with = append(with, raw...)
	if !empty {
		with = append(with, ',')
	}
	return Edit{Span{object.Start + 1, object.Start + 1}, with}
}

// InsertMember appends b to dst with the member set in the object; see SetMember.
func InsertMember(dst, b []byte, object Span, key string, raw []byte) []byte {
	return Splice(dst, b, SetMember(b, object, key, raw))
}

// RemoveMembers appends to edits those that take the members out of an object
// for which drop is true, commas included, and reports whether any member stays.
func RemoveMembers(edits []Edit, b []byte, object Span, drop func(Member) bool) ([]Edit, bool) {
	var kept, gap Span // the last member kept; what is to go after it
	for m := range Members(b, object) {
		switch {
		case !drop(m):
			if !gap.Empty() && kept.Empty() {
				edits = append(edits, Edit{Span: Span{gap.Start, m.Key.Start}})
			} else if !gap.Empty() {
				edits = append(edits, Edit{Span: gap})
			}
			kept, gap = m.Pair(), Span{}
		case !gap.Empty():
			gap.End = m.Value.End
		case kept.Empty():
			gap = m.Pair()
		default:
			gap = Span{kept.End, m.Value.End}
		}
	}
	if !gap.Empty() {
		edits = append(edits, Edit{Span: gap})
	}
	return edits, !kept.Empty()
}

// StripEra appends to edits those that take the modern era's keys out of the
// params of a scanned request, for a legacy server: it would answer -32022 to
// them. A _meta that holds nothing else goes too.
func StripEra(edits []Edit, b []byte, e *Envelope) []Edit {
	if e.Meta.Empty() {
		return edits
	}
	mark := len(edits)
	edits, some := RemoveMembers(edits, b, e.Meta, func(m Member) bool { return isEraKey(b, m.Key) })
	if some || len(edits) == mark {
		return edits
	}
	edits, _ = RemoveMembers(edits[:mark], b, e.Params, func(m Member) bool { return m.Value == e.Meta })
	return edits
}

func isEraKey(b []byte, key Span) bool {
	return Equal(b, key, MetaProtocolVersion) || Equal(b, key, MetaClientCapabilities) ||
		Equal(b, key, MetaClientInfo) || Equal(b, key, MetaLogLevel)
}

// AppendResult appends a response. id and result are raw JSON.
func AppendResult(dst, id, result []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0","id":`...)
	dst = append(dst, id...)
	dst = append(dst, `,"result":`...)
	dst = append(dst, result...)
	return append(dst, '}')
}

// AppendError appends an error response. id and data are raw JSON, each left
// out when empty: MCP has no null ids.
func AppendError(dst, id []byte, code int, message string, data []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0",`...)
	if len(id) > 0 {
		dst = append(dst, `"id":`...)
		dst = append(dst, id...)
		dst = append(dst, ',')
	}
	dst = append(dst, `"error":{"code":`...)
	dst = strconv.AppendInt(dst, int64(code), 10)
	dst = append(dst, `,"message":`...)
	dst = AppendString(dst, message)
	if len(data) > 0 {
		dst = append(dst, `,"data":`...)
		dst = append(dst, data...)
	}
	return append(dst, "}}"...)
}

// AppendRequest appends a request, or a notification when id is empty. id and
// params are raw JSON.
func AppendRequest(dst, id []byte, method string, params []byte) []byte {
	dst = append(dst, `{"jsonrpc":"2.0",`...)
	if len(id) > 0 {
		dst = append(dst, `"id":`...)
		dst = append(dst, id...)
		dst = append(dst, ',')
	}
	dst = append(dst, `"method":`...)
	dst = AppendString(dst, method)
	if len(params) > 0 {
		dst = append(dst, `,"params":`...)
		dst = append(dst, params...)
	}
	return append(dst, '}')
}
