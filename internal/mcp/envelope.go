package mcp

// Span is a half-open range of byte offsets into a message.
type Span struct{ Start, End int }

// Of returns the bytes of the span in the message it came from.
func (s Span) Of(b []byte) []byte { return b[s.Start:s.End:s.End] }

// Empty reports whether the span is absent: no JSON value has no bytes.
func (s Span) Empty() bool { return s.End <= s.Start }

// Len returns the number of bytes.
func (s Span) Len() int { return s.End - s.Start }

// Kind says what a message is.
type Kind uint8

// The kinds of messages.
const (
	Request Kind = iota + 1
	Notification
	Response // with a result
	ErrorResponse
)

// IsReply reports whether the message answers a request.
func (k Kind) IsReply() bool { return k >= Response }

// Envelope is what a scan finds in a message. Spans hold raw JSON values
// (strings with their quotes) as offsets into the scanned bytes, and are empty
// when the member is absent. An envelope is owned by the caller and reused;
// it is not safe for concurrent use.
type Envelope struct {
	Kind   Kind
	ID     Span   // empty for notifications, and for errors without an id or with null
	Method string // decoded

	Params         Span // an object
	Name           Span // params.name
	URI            Span // params.uri
	Arguments      Span // params.arguments
	Cursor         Span // params.cursor
	RequestState   Span // params.requestState
	InputResponses Span // params.inputResponses
	TaskID         Span // params.taskId
	RequestID      Span // params.requestId, of notifications/cancelled
	Progress       Span // params.progressToken, of notifications/progress

	Meta                Span   // params._meta, an object
	ProtocolVersion     string // decoded
	ProtocolVersionSpan Span
	ClientCapabilities  Span
	ClientInfo          Span
	LogLevel            Span
	SubscriptionID      Span // also of result._meta
	ProgressToken       Span // params._meta.progressToken, of requests

	Result            Span   // an object
	ResultType        string // decoded; "" when absent, which means complete
	ResultTypeSpan    Span
	IsError           bool // result.isError is true
	Content           Span
	StructuredContent Span
	ResultMeta        Span // result._meta, an object
	ServerInfo        Span // in result._meta

	Error        Span // an object
	ErrorCode    int64
	ErrorMessage Span
	ErrorData    Span

	keys keySet
}

// reset empties the envelope and keeps its scratch memory.
func (e *Envelope) reset() {
	*e = Envelope{keys: e.keys}
}

// Limits bound a scan. The zero value means the defaults.
type Limits struct {
	Depth   int // nesting of objects and arrays; 64 for Scan, 256 for ScanReply
	IDBytes int // raw length of an id; 1024
	Keys    int // keys of an object and of those around it, where keys are compared; 65,536
}

// The defaults of Limits, and the most entries a batch may have.
const (
	DefaultDepth      = 64
	DefaultReplyDepth = 256
	DefaultIDBytes    = 1024
	DefaultKeys       = 65_536
	MaxBatch          = 100

	maxDepth       = 10_000 // the recursion's own bound, whatever a caller asks for
	maxMethodBytes = 256
)

func (l Limits) or(depth int) Limits {
	if l.Depth <= 0 {
		l.Depth = depth
	}
	l.Depth = min(l.Depth, maxDepth)
	if l.IDBytes <= 0 {
		l.IDBytes = DefaultIDBytes
	}
	if l.Keys <= 0 {
		l.Keys = DefaultKeys
	}
	return l
}
