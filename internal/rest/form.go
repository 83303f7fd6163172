package rest

import (
	"maps"
	"strings"

	"headgate/internal/fault"
)

// Form is how a door words its failures. Doors use one of the four made here.
type Form interface {
	// Answer returns the status and the body for a fault.
	Answer(f *fault.Error) (status int, body any)
	// Code returns the door's word for a fault.
	Code(f *fault.Error) string
}

type words struct {
	kinds    map[fault.Kind]string
	codes    map[string]string // by fault code, before kinds
	statuses map[fault.Kind]int
}

func (w words) Code(f *fault.Error) string {
	if word, ok := w.codes[f.Code]; ok {
		return word
	}
	return w.kinds[f.Kind]
}

func (w words) status(f *fault.Error) int {
	if s, ok := w.statuses[f.Kind]; ok {
		return s
	}
	return f.Kind.Status()
}

var platformKinds = map[fault.Kind]string{
	fault.Internal: "INTERNAL_SERVER_ERROR", fault.BadCredential: "AUTH_TOKEN_INVALID",
	fault.UpstreamAuth: "MCP_SERVICE_OAUTH_REQUIRED", fault.Forbidden: "AUTH_INSUFFICIENT_SCOPE",
	fault.NotFound: "RESOURCE_NOT_FOUND", fault.Invalid: "VALIDATION_ERROR",
	fault.Unconfigured: "MCP_SERVICE_UNCONFIGURED", fault.Conflict: "CONFLICT", fault.Gone: "GONE",
	fault.Unpaid: "PAYMENT_REQUIRED", fault.Unsupported: "FEATURE_NOT_SUPPORTED",
	fault.Throttled: "RATE_LIMIT_EXCEEDED", fault.Upstream: "MCP_SERVICE_ERROR", fault.Timeout: "MCP_SERVICE_ERROR",
	fault.Unavailable: "SERVICE_UNAVAILABLE", fault.Method: "METHOD_NOT_ALLOWED",
	fault.Precondition: "PRECONDITION_FAILED", fault.TooLarge: "PAYLOAD_TOO_LARGE",
	fault.MediaType: "UNSUPPORTED_MEDIA_TYPE",
}

var diagnosticsKinds = map[fault.Kind]string{
	fault.Internal: "INTERNAL_ERROR", fault.BadCredential: "UNAUTHORIZED", fault.UpstreamAuth: "OAUTH_REQUIRED",
	fault.Forbidden: "FORBIDDEN", fault.NotFound: "NOT_FOUND", fault.Invalid: "VALIDATION_ERROR",
	fault.Unconfigured: "VALIDATION_ERROR", fault.Conflict: "CONFLICT", fault.Gone: "NOT_FOUND",
	fault.Unpaid: "FORBIDDEN", fault.Unsupported: "FEATURE_NOT_SUPPORTED", fault.Throttled: "RATE_LIMITED",
	fault.Upstream: "SERVER_UNREACHABLE", fault.Timeout: "TIMEOUT", fault.Unavailable: "UNAVAILABLE",
	fault.Method: "METHOD_NOT_ALLOWED", fault.Precondition: "PRECONDITION_FAILED",
	fault.TooLarge: "PAYLOAD_TOO_LARGE", fault.MediaType: "UNSUPPORTED_MEDIA_TYPE",
}

// ErrorBody is a failure's code, message and details as two doors show it.
type ErrorBody struct {
	Code    string         `json:"code" doc:"Stable; for programs."`
	Message string         `json:"message" doc:"For people; may change."`
	Details map[string]any `json:"details,omitempty" doc:"More, for programs."`
}

type platformForm struct{ words }

// PlatformFailure is a failure on the Platform API.
type PlatformFailure struct {
	Success bool          `json:"success" enum:"false"`
	Error   PlatformError `json:"error"`
}

// PlatformError is its inner part. Details is always an object.
type PlatformError struct {
	Code    string         `json:"code" doc:"Stable; for programs."`
	Message string         `json:"message" doc:"For people; may change."`
	Details map[string]any `json:"details" doc:"More, for programs; empty when there is no more."`
}

// PlatformForm words failures as {success, error: {code, message, details}}.
// Codes are the words of single faults, by fault code, where the kind's word
// is not the right one.
func PlatformForm(codes map[string]string) Form {
	return platformForm{words{platformKinds, codes, map[fault.Kind]int{fault.Upstream: 500, fault.Timeout: 500}}}
}

func (p platformForm) Answer(f *fault.Error) (int, any) {
	details := f.Details
	if details == nil {
		details = map[string]any{}
	}
	return p.status(f), PlatformFailure{Error: PlatformError{p.Code(f), f.Message, details}}
}

type diagnosticsForm struct{ words }

// DiagnosticsFailure is a failure on the Diagnostics API.
type DiagnosticsFailure ErrorBody

// DiagnosticsForm words failures as {code, message, details?}. The status is
// the code's own: a plan limit is FORBIDDEN 403, a removed thing NOT_FOUND 404.
func DiagnosticsForm(codes map[string]string) Form {
	return diagnosticsForm{words{diagnosticsKinds, codes, map[fault.Kind]int{fault.Unpaid: 403, fault.Gone: 404}}}
}

func (d diagnosticsForm) Answer(f *fault.Error) (int, any) {
	return d.status(f), DiagnosticsFailure{d.Code(f), f.Message, f.Details}
}

type appForm struct{ words }

// AppFailure is a failure on the App API.
type AppFailure struct {
	Error ErrorBody `json:"error"`
}

// AppForm words failures as {error: {code, message, details?}}.
func AppForm(codes map[string]string) Form {
	kinds := maps.Clone(diagnosticsKinds)
	kinds[fault.Unpaid] = "PAYMENT_REQUIRED"
	return appForm{words{kinds, codes, map[fault.Kind]int{fault.Gone: 404}}}
}

func (a appForm) Answer(f *fault.Error) (int, any) {
	return a.status(f), AppFailure{ErrorBody{a.Code(f), f.Message, f.Details}}
}

type accountForm struct {
	words
	texts map[string]string
}

// AccountFailure is a failure on the Account API: an object, or for bad
// credentials a plain text.
type AccountFailure struct {
	Detail any `json:"detail"`
}

// AccountDetail is that object. Some of its contract's failures have no
// message.
type AccountDetail struct {
	Code    string `json:"code"`
	Message string `json:"message,omitempty"`
}

// AccountForm words failures as {detail: {code, message}} with lower-case
// codes. A bad credential is {detail: text}, with the text of its fault code
// in texts, else "Invalid token". What does not fit an operation stays 422.
func AccountForm(codes, texts map[string]string) Form {
	kinds := make(map[fault.Kind]string, len(diagnosticsKinds))
	for k, word := range diagnosticsKinds {
		kinds[k] = strings.ToLower(word)
	}
	kinds[fault.Unpaid] = "payment_required"
	return accountForm{words{kinds, codes, nil}, texts}
}

// Code returns a bad credential's text, which is all its contract has.
func (a accountForm) Code(f *fault.Error) string {
	if f.Kind != fault.BadCredential {
		return a.words.Code(f)
	}
	if text, ok := a.texts[f.Code]; ok {
		return text
	}
	return "Invalid token"
}

func (a accountForm) Answer(f *fault.Error) (int, any) {
	if f.Kind == fault.BadCredential {
		return a.status(f), AccountFailure{a.Code(f)}
	}
	status := a.status(f)
	if f.Code == ErrInvalid.Code {
		status = 422
	}
	return status, AccountFailure{AccountDetail{a.Code(f), f.Message}}
}
