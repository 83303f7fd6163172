package mcp

import (
	"errors"

	"headgate/internal/fault"
)

// The codes of JSON-RPC and of MCP. Codes of our own stay outside -32768..-32000.
const (
	CodeParse               = -32700
	CodeInvalidRequest      = -32600
	CodeMethodNotFound      = -32601
	CodeInvalidParams       = -32602
	CodeInternal            = -32603
	CodeHeaderMismatch      = -32020 // modern
	CodeMissingCapability   = -32021 // modern: data.requiredCapabilities
	CodeUnsupportedVersion  = -32022 // modern: data.supported, data.requested
	CodeResourceNotFound    = -32002 // legacy only; modern uses CodeInvalidParams
	CodeElicitationRequired = -32042 // 2025-11-25 only
)

// The faults of this package. Scan refines them with the place and the reason.
var (
	ErrUnreadable    = fault.New(fault.Invalid, "mcp.unreadable", "The message is not readable JSON. Send one JSON-RPC message in UTF-8.")
	ErrNotMessage    = fault.New(fault.Invalid, "mcp.not_a_message", "The message is not JSON-RPC 2.0 as MCP uses it. Send one request, notification or response.")
	ErrBadParams     = fault.New(fault.Invalid, "mcp.bad_params", "The params of the message are not as MCP has them. Correct them and send it again.")
	ErrBatch         = fault.New(fault.Invalid, "mcp.batch", "The message is a batch, which only revision 2025-03-26 has. Send one message at a time.")
	ErrBadBatch      = fault.New(fault.Invalid, "mcp.bad_batch", "The batch is empty or too long. Send between 1 and 100 messages.")
	ErrBadHeader     = fault.New(fault.Invalid, "mcp.bad_header", "A mirrored header does not match the message. Send the headers the body calls for.")
	ErrBadAnnotation = fault.New(fault.Invalid, "mcp.bad_annotation", "The tool's input schema has an x-mcp-header the specification does not allow. Ask the server's owner to correct it.")
	ErrNotString     = fault.New(fault.Invalid, "mcp.not_a_string", "A text was expected and something else found. Send a JSON string.")
)

// RPCCode returns the JSON-RPC code an error of this package is answered with,
// and CodeInternal for every other error.
func RPCCode(err error) int {
	var f *fault.Error
	if !errors.As(err, &f) {
		return CodeInternal
	}
	switch f.Code {
	case ErrUnreadable.Code:
		return CodeParse
	case ErrNotMessage.Code, ErrBatch.Code, ErrBadBatch.Code:
		return CodeInvalidRequest
	case ErrBadParams.Code, ErrNotString.Code:
		return CodeInvalidParams
	case ErrBadHeader.Code:
		return CodeHeaderMismatch
	}
	return CodeInternal
}

// flaw is what the scanner found wrong. It is a number so that the hot path
// carries no error values.
type flaw uint8

const (
	sound flaw = iota
	flawEnd
	flawSyntax
	flawControl
	flawUTF8
	flawEscape
	flawSurrogate
	flawNumber
	flawDepth
	flawTrailing
	flawSize
	flawKeys
	firstShapeFlaw // from here on the JSON is readable and the message is not JSON-RPC
	flawDuplicate
	flawFolded
	flawNUL
	flawBatch
	flawNotObject
	flawVersion
	flawID
	flawLongID
	flawMethod
	flawParams
	flawMixed
	flawNoKind
	flawNoID
	flawResult
	flawResultType
	flawError
	firstParamsFlaw // from here on the message is JSON-RPC and its params are not MCP's
	flawMeta
	flawMetaText
)

var flawTexts = [...]string{
	flawEnd:        "it ends before the message is complete",
	flawSyntax:     "a character stands where JSON has no place for it",
	flawControl:    "a string holds a bare control character",
	flawUTF8:       "a string is not valid UTF-8",
	flawEscape:     "a string holds an unknown escape",
	flawSurrogate:  "a string holds half of a surrogate pair",
	flawNumber:     "a number is not written as JSON has it",
	flawDepth:      "objects and arrays are nested too deeply",
	flawTrailing:   "something follows the message",
	flawSize:       "it is too large",
	flawKeys:       "an object has too many keys",
	flawDuplicate:  "an object has the same key twice",
	flawFolded:     "a key differs from a known one only in its letters' case or form",
	flawNUL:        "a key or a name holds a NUL character",
	flawNotObject:  "a message must be an object",
	flawVersion:    `"jsonrpc" must be the string "2.0"`,
	flawID:         `"id" must be a string or a whole number`,
	flawLongID:     `"id" is too long`,
	flawMethod:     `"method" must be a string of 1 to 256 bytes`,
	flawParams:     `"params" must be an object; leave it out when there are none`,
	flawMixed:      `"method" and "params" do not go with "result" or "error", nor these two together`,
	flawNoKind:     `it has neither "method" nor "result" nor "error"`,
	flawNoID:       `"id" is missing`,
	flawResult:     `"result" must be an object`,
	flawResultType: `"resultType" must be a string`,
	flawError:      `"error" must be an object with a whole number "code" and a string "message"`,
	flawMeta:       `"_meta" must be an object`,
	flawMetaText:   "the protocol version in _meta must be a string",
}

// fault turns a flaw at a byte offset into the error to return.
func (f flaw) fault(at int) error {
	base, start, next := ErrUnreadable, "The message is not readable JSON", "Send one JSON-RPC message in UTF-8."
	switch {
	case f == flawBatch:
		return ErrBatch
	case f > firstParamsFlaw:
		base, start, next = ErrBadParams, "The params of the message are not as MCP has them", "Correct them and send it again."
	case f > firstShapeFlaw:
		base, start, next = ErrNotMessage, "The message is not JSON-RPC 2.0 as MCP uses it", "Correct it and send it again."
	}
	return base.Saying("%s: %s (at byte %d). %s", start, flawTexts[f], at, next)
}
