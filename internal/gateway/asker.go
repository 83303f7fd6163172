package gateway

import (
	"slices"

	"headgate/internal/catalog"
	"headgate/internal/gateway/eras"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

// metaServer is the key of _meta in which a question says whose it is.
const metaServer = "headgate/server"

// On an endpoint over several servers a client sees one server, so a person who
// is asked for something could not know by whom: any server could speak for any
// other. There each question says whose it is, to programs in _meta and to the
// person in its message. On an endpoint of one server nothing is added.

// signed appends to edits those that sign a server's request, an object with
// method and params.
func signed(edits []mcp.Edit, b []byte, request mcp.Span, server *catalog.Server) []mcp.Edit {
	method, _ := mcp.Get(b, request, "method")
	name, _ := mcp.String(b, method)
	if !eras.Asks(name) {
		return edits
	}
	params, ok := mcp.Get(b, request, "params")
	if !ok || b[params.Start] != '{' {
		return append(edits, mcp.SetMember(b, request, "params", append(append([]byte(`{"_meta":`), signature(server)...), '}')))
	}
	return signedParams(edits, b, params, server)
}

// signedParams is signed for the params of a request alone.
func signedParams(edits []mcp.Edit, b []byte, params mcp.Span, server *catalog.Server) []mcp.Edit {
	return append(spoken(edits, b, params, server), signedMeta(b, params, server))
}

// spoken appends to edits the one that has the message of an elicitation begin
// with the server's name, the rest of it as it is.
func spoken(edits []mcp.Edit, b []byte, params mcp.Span, server *catalog.Server) []mcp.Edit {
	message, ok := mcp.Get(b, params, "message")
	if !ok || b[message.Start] != '"' {
		return edits
	}
	at := message.Start + 1
	return append(edits, mcp.Edit{Span: mcp.Span{Start: at, End: at}, With: []byte("[" + server.Slug + "] ")})
}

// signedMeta returns the edit that sets the server in an object's _meta,
// whatever the server wrote there itself.
func signedMeta(b []byte, object mcp.Span, server *catalog.Server) mcp.Edit {
	meta, ok := mcp.Get(b, object, "_meta")
	if !ok || b[meta.Start] != '{' {
		return mcp.SetMember(b, object, "_meta", signature(server))
	}
	return mcp.SetMember(b, meta, metaServer, mcp.AppendString(nil, server.Slug))
}

func signature(server *catalog.Server) []byte {
	return append(mcp.AppendString([]byte(`{"`+metaServer+`":`), server.Slug), '}')
}

// signedRequests appends to edits those that sign the inputRequests of an
// object, which is a result or a task: requests there have no _meta in this
// era, so it is the object's.
func signedRequests(edits []mcp.Edit, b []byte, object mcp.Span, server *catalog.Server) []mcp.Edit {
	requests, ok := mcp.Get(b, object, "inputRequests")
	if !ok || b[requests.Start] != '{' {
		return edits
	}
	for m := range mcp.Members(b, requests) {
		method, _ := mcp.Get(b, m.Value, "method")
		if params, ok := mcp.Get(b, m.Value, "params"); ok && mcp.Equal(b, method, mcp.MethodElicitCreate) {
			edits = spoken(edits, b, params, server)
		}
	}
	return append(edits, signedMeta(b, object, server))
}

// signedPages appends to edits those that sign the pages that a legacy server
// wants to be visited before it serves a call (2025-11-25).
func signedPages(edits []mcp.Edit, b []byte, data mcp.Span, server *catalog.Server) []mcp.Edit {
	pages, ok := mcp.Get(b, data, "elicitations")
	if !ok || b[pages.Start] != '[' {
		return edits
	}
	for page := range mcp.Elements(b, pages) {
		if b[page.Start] == '{' {
			edits = signedParams(edits, b, page, server)
		}
	}
	return edits
}

// signs returns an answer that asks something as the endpoint's clients get it.
func (x *exchange) signs(a *upstream.Answer, server *catalog.Server) []byte {
	if x.ep.server != nil {
		return a.Body
	}
	var edits []mcp.Edit
	if a.Envelope.Kind == mcp.ErrorResponse {
		edits = signedPages(nil, a.Body, a.Envelope.ErrorData, server)
	} else {
		edits = signedRequests(nil, a.Body, a.Envelope.Result, server)
	}
	x.out = mcp.Splice(x.out[:0], a.Body, ordered(edits)...)
	return x.out
}

func ordered(edits []mcp.Edit) []mcp.Edit {
	slices.SortStableFunc(edits, func(x, y mcp.Edit) int { return x.Start - y.Start })
	return edits
}
