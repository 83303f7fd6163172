package upstream

import (
	"context"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
)

// Request is one JSON-RPC request on its way to a server. Its body is already
// in an era the server speaks and names things as the server does.
type Request struct {
	Server   *catalog.Server
	By       *access.Principal
	Revision mcp.Revision // of the body
	Method   string
	Name     string        // the tool or prompt name or the URI, for headers and timeouts; "" for other methods
	Body     []byte        // the whole message
	ID       []byte        // its id, raw
	Params   []Param       // Mcp-Param-* of the caller, forwarded (modern)
	Affinity string        // the downstream session; "" shares a session among stateless callers of one principal
	Client   Client        // what the caller said of itself, for sessions opened on its behalf
	Timeout  time.Duration // 0: the server's own for this method and name
	Progress bool          // the caller asked for progress, each sign of which starts the timeout anew
}

// timeout returns how long the exchange may take.
func (r *Request) timeout() time.Duration {
	switch {
	case r.Timeout > 0:
		return r.Timeout
	case r.Method == mcp.MethodToolsCall:
		return r.Server.TimeoutOf(r.Name)
	}
	return r.Server.TimeoutOf("")
}

// Param is a mirrored tool parameter header (SEP-2243): Mcp-Param-<Name>.
type Param struct{ Name, Value string }

// Client is what a downstream client declared, raw JSON; empty means {}.
type Client struct {
	Capabilities []byte
	Info         []byte
	Level        string // logging level to set in a new session; "" leaves it to the server
}

// asked reports whether a server may ask this client for anything.
func (c *Client) asked() bool { return len(c.Capabilities) > len("{}") }

// Sink takes what comes before the answer: progress and log notifications, and
// requests of a legacy server. An error ends the exchange. The slices are valid
// only during the call.
type Sink interface {
	Event(message []byte, e *mcp.Envelope) error
}

// Answer is the final message of an exchange, whole: a result or a JSON-RPC
// error, its id checked.
type Answer struct {
	Body []byte
	*scanned
	Status  int // HTTP status it came with
	release func()
}

// scanned is a message's Envelope. An answer shares its exchange's: it is half
// a kilobyte.
type scanned struct{ Envelope mcp.Envelope }

// NewAnswer returns an answer whose Release calls release (which may be nil).
func NewAnswer(body []byte, e mcp.Envelope, status int, release func()) *Answer {
	return &Answer{body, &scanned{e}, status, release}
}

// Release gives back what the answer is on loan from: neither Body nor Envelope
// must be used afterwards. Releasing twice is releasing once.
func (a *Answer) Release() {
	if a != nil && a.release != nil {
		a.release()
		a.release = nil
	}
}

// Exchanger sends a request and returns its answer: a Hub, or a translator
// between eras in front of one. Its faults say who is to blame: Kind Upstream,
// Timeout and Unavailable are the backend's (ErrRejected the caller's).
type Exchanger interface {
	Exchange(ctx context.Context, r *Request, sink Sink) (*Answer, error)
}
