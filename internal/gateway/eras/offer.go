package eras

import "headgate/internal/mcp"

// Asks reports whether a method is one by which a server asks its client for
// something.
func Asks(method string) bool { return capabilityOf(method) != "" }

func capabilityOf(method string) string {
	switch method {
	case mcp.MethodElicitCreate:
		return "elicitation"
	case mcp.MethodSamplingCreate:
		return "sampling"
	case mcp.MethodRootsList:
		return "roots"
	}
	return ""
}

const urlMode = "url"

// Offers reports whether a client with these capabilities has said that it
// answers such a request. A page to visit is only for those that name that mode;
// one that names no mode means forms. What Asks does not know is not judged.
func Offers(capabilities []byte, method string, params []byte) bool {
	name := capabilityOf(method)
	if name == "" {
		return true
	}
	if len(capabilities) == 0 {
		return false
	}
	offer, ok := mcp.Get(capabilities, mcp.Root(capabilities), name)
	if !ok || capabilities[offer.Start] != '{' {
		return false
	}
	if method != mcp.MethodElicitCreate {
		return true
	}
	_, url := mcp.Get(capabilities, offer, urlMode)
	_, form := mcp.Get(capabilities, offer, "form")
	if mode(params) == urlMode {
		return url
	}
	return form || !url
}

// mode is that of an elicitation.
func mode(params []byte) string {
	if len(params) == 0 {
		return ""
	}
	v, _ := mcp.Get(params, mcp.Root(params), "mode")
	text, _ := mcp.String(params, v)
	return text
}

// Missing returns what a client would have to declare for the requests of an
// input_required result, a JSON object; nil when it has declared it all.
func Missing(capabilities, body []byte, result mcp.Span) []byte {
	requests, ok := mcp.Get(body, result, "inputRequests")
	if !ok || body[requests.Start] != '{' {
		return nil
	}
	for m := range mcp.Members(body, requests) {
		v, _ := mcp.Get(body, m.Value, "method")
		method, _ := mcp.String(body, v)
		var params []byte
		if v, ok := mcp.Get(body, m.Value, "params"); ok && body[v.Start] == '{' {
			params = v.Of(body)
		}
		switch {
		case Offers(capabilities, method, params):
		case method == mcp.MethodElicitCreate && mode(params) == urlMode:
			return []byte(`{"elicitation":{"url":{}}}`)
		default:
			return []byte(`{"` + capabilityOf(method) + `":{}}`)
		}
	}
	return nil
}
