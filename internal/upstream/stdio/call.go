package stdio

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/mcp"
)

const (
	maxEvents = 256       // that wait for one reader; more are dropped, and questions refused
	maxQueued = 64 << 20  // bytes that wait for all readers of a child together
	maxNews   = 256 << 10 // of one message outside of calls
)

// call is a request under way at a child.
type call struct {
	id      uint64 // as the child knows it; also its progress token
	method  string
	session *session // the caller's; nil in the modern era and for our own
	rawID   []byte   // the caller's id
	token   []byte   // the caller's progress token; nil when it gave none
	level   level    // log lines wanted (modern)
	listen  bool     // a subscription: long, and no work
	began   time.Time
	heard   uint64 // conn.heard then

	answer chan *reply   // of one
	inbox  *inbox        // what comes before it
	queued *atomic.Int64 // of all calls of the child
}

func newCall(method string) *call {
	return &call{method: method, level: silent, answer: make(chan *reply, 1), inbox: newInbox()}
}

// inbox holds messages for one reader. It is mostly empty, so it takes memory
// only when something comes.
type inbox struct {
	news chan struct{} // of one: something has come

	mu   sync.Mutex
	list [][]byte
}

func newInbox() *inbox { return &inbox{news: make(chan struct{}, 1)} }

// put adds a message, unless there are too many.
func (b *inbox) put(message []byte) bool {
	b.mu.Lock()
	full := len(b.list) >= maxEvents
	if !full {
		b.list = append(b.list, message)
	}
	b.mu.Unlock()
	if full {
		return false
	}
	select {
	case b.news <- struct{}{}:
	default:
	}
	return true
}

// take empties the inbox.
func (b *inbox) take() [][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.list
	b.list = nil
	return list
}

// reply is a child's answer.
type reply struct {
	line         []byte
	kind         mcp.Kind
	code         int64
	id, sub      mcp.Span
	result       mcp.Span
	errorMessage mcp.Span
}

// unsent is the answer to a call that its child never had the whole of.
var unsent = &reply{}

func replyOf(line []byte, e *mcp.Envelope) *reply {
	return &reply{line, e.Kind, e.ErrorCode, e.ID, e.SubscriptionID, e.Result, e.ErrorMessage}
}

// append writes the answer with the caller's id in place of ours.
func (r *reply) append(dst, id []byte) []byte {
	edits := [2]mcp.Edit{{Span: r.id, With: id}, {Span: r.sub, With: id}}
	switch {
	case r.sub.Empty():
		return mcp.Splice(dst, r.line, edits[0])
	case r.sub.Start < r.id.Start:
		edits[0], edits[1] = edits[1], edits[0]
	}
	return mcp.Splice(dst, r.line, edits[:]...)
}

// works reports whether a method makes a server act, and so perhaps ask.
func works(method string) bool {
	switch method {
	case mcp.MethodToolsCall, mcp.MethodPromptsGet, mcp.MethodResourcesRead, mcp.MethodTasksResult, mcp.MethodTasksUpdate:
		return true
	}
	return false
}

// push hands a message to the caller, unless too many wait for it, or too many
// bytes for all callers of the child.
func (k *call) push(message []byte) bool {
	if k.queued.Add(int64(len(message))) <= maxQueued && k.inbox.put(message) {
		return true
	}
	k.queued.Add(-int64(len(message)))
	return false
}

// events takes what has come for the call.
func (k *call) events() [][]byte {
	list := k.inbox.take()
	for _, m := range list {
		k.queued.Add(-int64(len(m)))
	}
	return list
}

// idOf reads an id or token that we gave.
func idOf(b []byte, v mcp.Span) (uint64, bool) {
	raw := v.Of(b)
	if len(raw) == 0 || len(raw) > 20 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	return n, err == nil
}

// level is the severity of a log line, as MCP orders them.
type level int32

var levelNames = [...]string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

const (
	info   level = 1
	silent level = level(len(levelNames))
	unset  level = -1
)

func levelOf(name string) level {
	for i, n := range levelNames {
		if n == name {
			return level(i)
		}
	}
	return unset
}

func (l level) String() string { return levelNames[l] }
