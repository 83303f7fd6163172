package gateway

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"headgate/internal/call"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/server/request"
	"headgate/internal/upstream"
)

// deny answers a request whose message nobody looked at: the fault's own HTTP
// status, and a JSON-RPC error without an id.
func deny(w http.ResponseWriter, r *http.Request, err error) {
	f := note(r, err)
	refuse(w, f.Kind.Status(), appendFault(nil, nil, mcp.Legacy, r, f), f)
}

// refuse sends an error with the headers that its fault calls for.
func refuse(w http.ResponseWriter, status int, body []byte, f *fault.Error) {
	h := w.Header()
	switch f.Kind {
	case fault.BadCredential:
		h.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		if f.Code == "rest.no_credential" {
			h.Set("WWW-Authenticate", `Bearer realm="headgate"`)
		}
	case fault.Forbidden:
		if scope, ok := f.Details["scope"].(string); ok {
			h.Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+scope+`"`)
		}
	}
	if f.Code == errPacked.Code {
		h.Set("Accept-Encoding", "identity") // RFC 9110, 15.5.16
	}
	if f.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(f.RetryAfter.Seconds()))))
	}
	writeJSON(w, status, body)
}

// note tells the request's log event what went wrong and returns the fault.
func note(r *http.Request, err error) *fault.Error {
	f := fault.Of(err)
	if i := request.From(r.Context()); i != nil {
		i.Code = f.Code
		if f.Kind == fault.Internal {
			i.Err = err
		}
	}
	return f
}

// statusOf returns the HTTP status of an answer with a fault. A legacy client
// reads 404 as "session lost" and other 4xx as broken transport, so what
// concerns one message is 200 there.
func statusOf(f *fault.Error, era mcp.Era) int {
	switch f.Kind {
	case fault.BadCredential, fault.Forbidden, fault.Throttled:
		return f.Kind.Status()
	case fault.Unavailable:
		if f.Code == call.ErrDisabled.Code || f.Code == upstream.ErrOpen.Code {
			return http.StatusOK // of one server, not of this one
		}
		return http.StatusServiceUnavailable
	}
	switch f.Code {
	case errSession.Code:
		return http.StatusNotFound
	case errNoHeader.Code, errVersion.Code:
		return http.StatusBadRequest
	}
	switch codeOf(f, era) {
	case mcp.CodeParse, mcp.CodeInvalidRequest:
		return http.StatusBadRequest
	case mcp.CodeMethodNotFound:
		if era == mcp.Modern {
			return http.StatusNotFound
		}
	case mcp.CodeInvalidParams, mcp.CodeUnsupportedVersion, mcp.CodeMissingCapability, mcp.CodeHeaderMismatch:
		if era == mcp.Modern {
			return http.StatusBadRequest
		}
	}
	return http.StatusOK
}

// codeOf returns the JSON-RPC code of a fault. Codes of our own are HTTP
// statuses, outside the range JSON-RPC reserves.
func codeOf(f *fault.Error, era mcp.Era) int {
	if c := mcp.RPCCode(f); c != mcp.CodeInternal {
		return c
	}
	switch f.Kind {
	case fault.Invalid, fault.NotFound, fault.Gone:
		switch f.Code {
		case errVersion.Code:
			if era == mcp.Modern {
				return mcp.CodeUnsupportedVersion
			}
			return mcp.CodeInvalidRequest
		case errNoTasks.Code, errUnasked.Code:
			return mcp.CodeMissingCapability
		case errResource.Code:
			if era == mcp.Legacy {
				return mcp.CodeResourceNotFound
			}
		case errInFlight.Code, errNoHeader.Code, errSession.Code:
			return mcp.CodeInvalidRequest
		}
		return mcp.CodeInvalidParams
	case fault.Unsupported:
		return mcp.CodeMethodNotFound
	case fault.Internal:
		return mcp.CodeInternal
	}
	return f.Kind.Status()
}

type faultData struct {
	Code       string          `json:"code"`
	RequestID  string          `json:"requestId,omitempty"`
	RetryAfter int             `json:"retryAfterSeconds,omitempty"`
	Details    map[string]any  `json:"details,omitempty"`
	Supported  []string        `json:"supported,omitempty"`
	Requested  string          `json:"requested,omitempty"`
	Required   json.RawMessage `json:"requiredCapabilities,omitempty"`
}

// requiredCapabilities is the detail of a fault that says what a client would
// have to declare, raw JSON.
const requiredCapabilities = "requiredCapabilities"

// appendFault appends a JSON-RPC error that says the fault; id nil is null.
func appendFault(dst, id []byte, era mcp.Era, r *http.Request, f *fault.Error) []byte {
	d := faultData{Code: f.Code, RequestID: request.ID(r.Context()), Details: f.Details, RetryAfter: int(math.Ceil(f.RetryAfter.Seconds()))}
	if required, ok := f.Details[requiredCapabilities].(json.RawMessage); ok { // has a place of its own
		d.Required, d.Details = required, nil
	}
	if f.Code == errVersion.Code {
		d.Supported = revisions()
		d.Requested, _ = f.Details["requested"].(string)
		d.Details = nil
	}
	data, err := json.Marshal(d)
	if err != nil {
		data = nil // a detail that is no JSON is our bug; the error itself is still said
	}
	return mcp.AppendError(dst, id, codeOf(f, era), f.Message, data)
}

// unpaid says a refusal that a model should read as the outcome of its call:
// what is missing and what to do, as a tool result with isError.
func unpaid(dst, id []byte, era mcp.Era, r *http.Request, f *fault.Error) []byte {
	text := f.Message
	if rid := request.ID(r.Context()); rid != "" {
		text += " (" + rid + ")"
	}
	res := []byte(`{"content":[{"type":"text","text":`)
	res = append(mcp.AppendString(res, text), `}],"isError":true`...)
	if era == mcp.Modern {
		res = append(res, `,"resultType":"complete"`...)
	}
	data, err := json.Marshal(faultData{Code: f.Code, RequestID: request.ID(r.Context()), Details: f.Details})
	if err == nil {
		res = append(append(res, `,"_meta":{"headgate/error":`...), data...)
		res = append(res, '}')
	}
	return mcp.AppendResult(dst, id, append(res, '}'))
}

var jsonType = []string{"application/json"}
