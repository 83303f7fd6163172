package mcp

import "strings"

// Revision is a dated revision of the protocol. Dates compare as text.
type Revision string

// The revisions that Headgate speaks.
const (
	Revision20241105 Revision = "2024-11-05"
	Revision20250326 Revision = "2025-03-26" // the only one with batches; meant when no version header is sent
	Revision20250618 Revision = "2025-06-18"
	Revision20251125 Revision = "2025-11-25"
	Revision20260728 Revision = "2026-07-28"

	LatestLegacy = Revision20251125
	LatestModern = Revision20260728
	// AssumedRevision is what a legacy request without a version header counts as.
	AssumedRevision = Revision20250326
)

// Era separates the revisions with a handshake from those without.
type Era uint8

// The eras, older first.
const (
	Legacy Era = iota
	Modern
)

// String returns the era's name.
func (e Era) String() string {
	if e == Modern {
		return "modern"
	}
	return "legacy"
}

// Revisions returns the known revisions of an era, newest first.
func Revisions(era Era) []Revision {
	if era == Modern {
		return []Revision{Revision20260728}
	}
	return []Revision{Revision20251125, Revision20250618, Revision20250326, Revision20241105}
}

// Known returns the revision that a text names, if Headgate speaks it.
func Known(text string) (Revision, bool) {
	switch Revision(text) {
	case Revision20260728:
		return Revision20260728, true
	case Revision20251125:
		return Revision20251125, true
	case Revision20250618:
		return Revision20250618, true
	case Revision20250326:
		return Revision20250326, true
	case Revision20241105:
		return Revision20241105, true
	}
	return "", false
}

// Negotiate answers the version that initialize asks for: the same one when it
// is a known legacy revision, else the newest legacy one. The handshake belongs
// to the legacy era, so it never settles on a modern revision.
func Negotiate(requested string) Revision {
	if r, ok := Known(requested); ok && r.Era() == Legacy {
		return r
	}
	return LatestLegacy
}

// Era returns the era of a revision. An unknown one that is later than every
// known one is modern, so that its caller is told the supported versions.
func (r Revision) Era() Era {
	if r >= Revision20260728 {
		return Modern
	}
	return Legacy
}

// AtLeast reports whether r is o or later.
func (r Revision) AtLeast(o Revision) bool { return r >= o }

// Compare orders revisions by date.
func (r Revision) Compare(o Revision) int { return strings.Compare(string(r), string(o)) }

// EraOf tells the era of a client's message from its version header and its
// body. A modern body without the header is modern, to be answered with
// CodeHeaderMismatch; the header alone proves nothing, for legacy clients send it too.
func EraOf(header string, e *Envelope) Era {
	if e.Method == MethodInitialize {
		return Legacy
	}
	if !e.ProtocolVersionSpan.Empty() || Revision(header).Era() == Modern {
		return Modern
	}
	return Legacy
}

// The _meta keys the protocol reserves.
const (
	MetaProtocolVersion    = "io.modelcontextprotocol/protocolVersion"
	MetaClientCapabilities = "io.modelcontextprotocol/clientCapabilities"
	MetaClientInfo         = "io.modelcontextprotocol/clientInfo"
	MetaLogLevel           = "io.modelcontextprotocol/logLevel"
	MetaServerInfo         = "io.modelcontextprotocol/serverInfo"
	MetaSubscriptionID     = "io.modelcontextprotocol/subscriptionId"
	MetaProgressToken      = "progressToken"
)

// The headers of the HTTP transports. Names are not case sensitive, values are.
const (
	HeaderProtocolVersion = "MCP-Protocol-Version"
	HeaderMethod          = "Mcp-Method"
	HeaderName            = "Mcp-Name"
	HeaderParamPrefix     = "Mcp-Param-"
	HeaderSessionID       = "Mcp-Session-Id" // legacy only
	HeaderLastEventID     = "Last-Event-ID"  // legacy only
)

// The values of resultType. Absent means complete.
const (
	ResultComplete      = "complete"
	ResultInputRequired = "input_required"
	ResultTask          = "task" // of the tasks extension
)
