package eras

import (
	"net/http"
	"slices"

	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

type answer = upstream.Answer

// made returns an answer with a body of our own making.
func made(body []byte, status int) (*answer, error) {
	var e mcp.Envelope
	if err := mcp.ScanReply(body, &e, mcp.Limits{}); err != nil {
		return nil, upstream.ErrNonsense.Because(err)
	}
	return upstream.NewAnswer(body, e, status, nil), nil
}

// edited returns an answer with some of its bytes replaced, and gives the old
// one back.
func edited(a *answer, status int, edits []mcp.Edit) (*answer, error) {
	if len(edits) == 0 {
		a.Status = status
		return a, nil
	}
	slices.SortStableFunc(edits, func(x, y mcp.Edit) int { return x.Start - y.Start })
	body := mcp.Splice(make([]byte, 0, len(a.Body)+256), a.Body, edits...)
	a.Release()
	return made(body, status)
}

// identified appends the edit that gives an answer another id.
func identified(edits []mcp.Edit, a *answer, id []byte) []mcp.Edit {
	span := a.Envelope.ID
	if span.Empty() || string(span.Of(a.Body)) == string(id) {
		return edits
	}
	return append(edits, mcp.Edit{Span: span, With: id})
}

// modernized turns a legacy server's answer into one for a modern client.
func modernized(a *answer, method string, id []byte, f *upstream.Facts) (*answer, error) {
	e := &a.Envelope
	edits := identified(nil, a, id)
	if e.Kind == mcp.ErrorResponse {
		status := http.StatusOK
		switch e.ErrorCode {
		case mcp.CodeMethodNotFound:
			status = http.StatusNotFound
		case mcp.CodeMissingCapability:
			status = http.StatusBadRequest
		case mcp.CodeResourceNotFound:
			code, _ := mcp.Get(a.Body, e.Error, "code")
			edits = append(edits, mcp.Edit{Span: code, With: []byte("-32602")})
		}
		return edited(a, status, edits)
	}
	var first []byte // members that the result gets
	if e.ResultTypeSpan.Empty() {
		first = append(first, `"resultType":"complete",`...)
	}
	if method == mcp.MethodResourcesRead {
		if _, ok := mcp.Get(a.Body, e.Result, "ttlMs"); !ok {
			first = append(first, `"ttlMs":0,`...)
		}
		if _, ok := mcp.Get(a.Body, e.Result, "cacheScope"); !ok {
			first = append(first, `"cacheScope":"private",`...)
		}
	}
	if len(f.ServerInfo) > 0 && e.ServerInfo.Empty() {
		info := append([]byte(`"`+mcp.MetaServerInfo+`":`), f.ServerInfo...)
		if e.ResultMeta.Empty() {
			first = append(append(append(first, `"_meta":{`...), info...), "},"...)
		} else {
			edits = append(edits, opening(a.Body, e.ResultMeta, append(info, ',')))
		}
	}
	if first != nil {
		edits = append(edits, opening(a.Body, e.Result, first))
	}
	return edited(a, http.StatusOK, edits)
}

// opening returns the edit that puts members, each with a comma behind it, at
// the beginning of an object.
func opening(b []byte, object mcp.Span, members []byte) mcp.Edit {
	empty := true
	for range mcp.Members(b, object) {
		empty = false
		break
	}
	if empty {
		members = members[:len(members)-1]
	}
	return mcp.Edit{Span: mcp.Span{Start: object.Start + 1, End: object.Start + 1}, With: members}
}

// legacied turns a modern server's answer into one for a legacy client.
func legacied(a *answer, method string, id []byte) (*answer, error) {
	e := &a.Envelope
	edits := identified(nil, a, id)
	switch {
	case e.Kind == mcp.ErrorResponse && e.ErrorCode == mcp.CodeInvalidParams && method == mcp.MethodResourcesRead:
		code, _ := mcp.Get(a.Body, e.Error, "code")
		edits = append(edits, mcp.Edit{Span: code, With: []byte("-32002")})
	case e.Kind == mcp.ErrorResponse:
	case e.ResultType == mcp.ResultTask:
		a.Release()
		return nil, ErrResult
	case e.ResultType == mcp.ResultComplete:
		edits, _ = mcp.RemoveMembers(edits, a.Body, e.Result, func(m mcp.Member) bool {
			return m.Is(a.Body, "resultType") || m.Is(a.Body, "ttlMs") || m.Is(a.Body, "cacheScope")
		})
	}
	return edited(a, http.StatusOK, edits)
}

// Capabilities returns what a server says it can do in the words of an era: what
// only the other one has is hidden. So are the tasks of 2025-11-25, an experiment
// that nothing here carries on.
func Capabilities(f *upstream.Facts, era mcp.Era) []byte {
	all := f.Capabilities
	edits, _ := mcp.RemoveMembers(nil, all, mcp.Root(all), func(m mcp.Member) bool {
		return m.Is(all, "tasks") || f.Era != era && m.Is(all, "extensions")
	})
	if edits == nil {
		return all
	}
	out := mcp.Splice(nil, all, edits...)
	if extensions := across(all); f.Era != era && extensions != nil {
		out = mcp.InsertMember(nil, out, mcp.Root(out), "extensions", extensions)
	}
	return out
}

// The extensions that cross eras: those that change no messages.
var carried = []string{"io.modelcontextprotocol/ui"}

// across returns of the extensions in a side's capabilities those that cross
// eras, nil for none.
func across(capabilities []byte) []byte {
	extensions := []byte(`{}`)
	for _, key := range carried {
		if v, ok := mcp.Find(capabilities, mcp.Root(capabilities), "extensions", key); ok && capabilities[v.Start] == '{' {
			extensions = mcp.InsertMember(nil, extensions, mcp.Root(extensions), key, v.Of(capabilities))
		}
	}
	if len(extensions) == len(`{}`) {
		return nil
	}
	return extensions
}

// narrowed returns of a client's capabilities those that both eras have and we
// can carry across.
func narrowed(capabilities []byte) []byte {
	out := []byte(`{}`)
	if len(capabilities) == 0 {
		return out
	}
	if extensions := across(capabilities); extensions != nil {
		out = mcp.InsertMember(nil, out, mcp.Root(out), "extensions", extensions)
	}
	for _, key := range []string{"sampling", "roots", "elicitation"} { // each goes to the front
		if v, ok := mcp.Get(capabilities, mcp.Root(capabilities), key); ok && capabilities[v.Start] == '{' {
			out = mcp.InsertMember(nil, out, mcp.Root(out), key, v.Of(capabilities))
		}
	}
	return out
}

// askable reports whether a client with these capabilities may be asked for
// anything.
func askable(capabilities []byte) bool {
	for _, key := range []string{"sampling", "roots", "elicitation"} {
		if _, ok := mcp.Get(capabilities, mcp.Root(capabilities), key); ok {
			return true
		}
	}
	return false
}
