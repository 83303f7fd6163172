package checkup

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/diagnosis/report"
	"headgate/internal/mcp"
	"headgate/internal/netguard"
)

const (
	maxBody  = 2 << 20 // of one answer
	maxNoise = 4 << 10 // kept of an answer that is not MCP
)

// line is one way to a server: its URL and what goes with every request.
type line struct {
	client   *http.Client
	url      string
	fields   []catalog.Header // credentials
	patience time.Duration    // with one exchange
	serial   int
	steps    *[]report.Step
	odd      *odd // what servers send without being asked; nil does not look

	era      mcp.Era
	revision mcp.Revision
	session  string // of a legacy server; never in a report
	old      *oldLine
}

// anonymous returns the same line without credentials and without a session.
func (l *line) anonymous() *line {
	return &line{client: l.client, url: l.url, patience: l.patience, steps: l.steps, odd: l.odd}
}

// odd is what came beside the answers that nobody asked for.
type odd struct {
	logs bool     // log messages, though no request named a level
	asks []string // methods of requests to a client that declared nothing

	told                       bool // progress was
	progress                   float64
	strangeProgress, backwards bool // of another request; not rising
}

// note takes a message in that came before an answer.
func (o *odd) note(era mcp.Era, b []byte, e *mcp.Envelope) {
	switch {
	case o == nil:
	case e.Kind == mcp.Notification && e.Method == mcp.NotifyProgress:
		token, _ := mcp.Get(b, e.Params, "progressToken")
		value, _ := mcp.Get(b, e.Params, "progress")
		n, err := strconv.ParseFloat(string(value.Of(b)), 64)
		o.strangeProgress = o.strangeProgress || !mcp.Equal(b, token, progressToken)
		o.backwards = o.backwards || err != nil || o.told && n <= o.progress
		o.progress, o.told = n, true
	case e.Kind == mcp.Notification && e.Method == mcp.NotifyMessage:
		o.logs = o.logs || era == mcp.Modern // a session may have a level of its own
	case e.Kind == mcp.Request && e.Method != mcp.MethodPing && !slices.Contains(o.asks, e.Method) && len(o.asks) < 8:
		o.asks = append(o.asks, report.Clip(e.Method, 64))
	}
}

// answer is one HTTP answer, read as far as the JSON-RPC reply in it.
type answer struct {
	status      int
	header      http.Header
	kind        string // json, sse, "" for anything else
	body        []byte // the reply, else the beginning of what came
	env         mcp.Envelope
	reply       bool   // body is a JSON-RPC reply to the request
	wrong       string // why it is none
	mislabelled bool   // it would be one, but for its Content-Type
	events      int

	took, connect, handshake, firstEvent time.Duration

	tls   *tls.ConnectionState
	proto string
}

// result returns the span of the result, when there is one.
func (a *answer) result() (mcp.Span, bool) {
	return a.env.Result, a.reply && a.env.Kind == mcp.Response
}

// rpcCode is the code of a JSON-RPC error, or 0.
func (a *answer) rpcCode() int64 {
	if a.reply && a.env.Kind == mcp.ErrorResponse {
		return a.env.ErrorCode
	}
	return 0
}

// said is the message of a JSON-RPC error, for people.
func (a *answer) said() string {
	text, err := mcp.String(a.body, a.env.ErrorMessage)
	if err != nil || text == "" {
		return ""
	}
	return ": " + strings.TrimRight(report.Clip(text, 200), ".")
}

// next returns the id of the next request.
func (l *line) next() []byte {
	l.serial++
	return strconv.AppendInt(nil, int64(l.serial), 10)
}

// call sends a request in the line's era and session.
func (l *line) call(ctx context.Context, method, name string, members []byte) (*answer, error) {
	id := l.next()
	body := l.message(id, method, members)
	return l.send(ctx, body, id, l.headers(method, name))
}

// message builds a request or, without an id, a notification. members are
// further members of params, without braces.
func (l *line) message(id []byte, method string, members []byte) []byte {
	params := append([]byte{'{'}, members...)
	if l.era == mcp.Modern {
		if len(members) > 0 {
			params = append(params, ',')
		}
		params = append(params, `"_meta":{"`+mcp.MetaProtocolVersion+`":"`+string(l.revision)+`","`+mcp.MetaClientCapabilities+`":{},"`+mcp.MetaClientInfo+`":`+clientInfo+`}`...)
	}
	return mcp.AppendRequest(nil, id, method, append(params, '}'))
}

const clientInfo = `{"name":"headgate-doctor","version":"1.0.0"}`

// headers are those that MCP wants beside the body.
func (l *line) headers(method, name string) http.Header {
	h := http.Header{}
	if l.era == mcp.Modern {
		h.Set(mcp.HeaderProtocolVersion, string(l.revision))
		h.Set(mcp.HeaderMethod, method)
		if name != "" {
			h.Set(mcp.HeaderName, mcp.EncodeHeader(name))
		}
		return h
	}
	if l.session != "" {
		h.Set(mcp.HeaderSessionID, l.session)
	}
	if l.revision.AtLeast(mcp.Revision20250618) {
		h.Set(mcp.HeaderProtocolVersion, string(l.revision))
	}
	return h
}

// send posts a message and reads the answer. Without an id none is expected.
func (l *line) send(ctx context.Context, body, id []byte, h http.Header) (*answer, error) {
	if l.old != nil {
		return l.old.send(ctx, body, id)
	}
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json, text/event-stream")
	return l.do(ctx, http.MethodPost, body, id, h)
}

// do makes one HTTP exchange within its time.
func (l *line) do(ctx context.Context, method string, body, id []byte, h http.Header) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	a := &answer{}
	start, seen := time.Now(), &timing{}
	r, err := http.NewRequestWithContext(seen.trace(ctx), method, l.url, bytes.NewReader(body))
	if err != nil {
		return nil, netguard.ErrURL
	}
	r.Header, r.Host = h, h.Get("Host") // "" is the URL's
	for _, f := range l.fields {
		r.Header.Set(f.Name, f.Value.Reveal())
	}
	resp, err := l.client.Do(r)
	reached := seen.into(a)
	if err != nil {
		if !reached && errors.Is(err, context.DeadlineExceeded) {
			err = netguard.ErrBlocked.Because(err) // a silent address reads like a closed one
		}
		return nil, err
	}
	defer resp.Body.Close()
	a.status, a.header, a.tls, a.proto = resp.StatusCode, resp.Header, resp.TLS, resp.Proto
	err = a.read(resp.Body, id, start, func() { l.odd.note(l.era, a.body, &a.env) })
	a.took = time.Since(start)
	return a, err
}

// timing is what the transport tells of a connection, from its own goroutines
// and also after the request was given up.
type timing struct {
	mu                 sync.Mutex
	asked, shaking     time.Time
	connect, handshake time.Duration
	reached            bool
}

func (t *timing) note(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f()
}

func (t *timing) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:           func(string) { t.note(func() { t.asked = time.Now() }) },
		TLSHandshakeStart: func() { t.note(func() { t.shaking, t.reached = time.Now(), true }) },
		TLSHandshakeDone:  func(tls.ConnectionState, error) { t.note(func() { t.handshake = time.Since(t.shaking) }) },
		GotConn: func(i httptrace.GotConnInfo) {
			t.note(func() {
				t.reached = true
				if !i.Reused {
					t.connect = time.Since(t.asked)
				}
			})
		},
	})
}

// into copies the times and reports whether there was a connection.
func (t *timing) into(a *answer) (reached bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a.connect, a.handshake = t.connect, t.handshake
	return t.reached
}

// read takes the reply out of the body; before is called for each message that
// comes before it.
func (a *answer) read(body io.Reader, id []byte, start time.Time, before func()) error {
	switch media, _, _ := mime.ParseMediaType(a.header.Get("Content-Type")); media {
	case "application/json":
		a.kind = "json"
	case "text/event-stream":
		a.kind = "sse"
		return a.stream(body, id, start, before)
	}
	if a.kind == "" {
		var err error
		a.body, err = io.ReadAll(io.LimitReader(body, maxNoise))
		if a.take(a.body, id) {
			a.reply, a.mislabelled, a.env = false, true, mcp.Envelope{}
			a.wrong = "It is JSON-RPC, and its Content-Type says otherwise."
			return err
		}
		a.wrong = "The answer is neither JSON nor an event stream."
		return err
	}
	b, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	a.take(b, id)
	return nil
}

// take judges a whole message and reports whether it is the reply.
func (a *answer) take(b, id []byte) bool {
	a.body = b
	err := mcp.ScanReply(b, &a.env, mcp.Limits{})
	switch {
	case err != nil:
		a.wrong = "The answer is not JSON-RPC."
	case !a.env.Kind.IsReply():
		a.wrong = "The answer is no reply."
	case !a.env.ID.Empty() && !mcp.SameID(id, a.env.ID.Of(b)), a.env.ID.Empty() && a.env.Kind == mcp.Response:
		a.wrong = "The answer has another request's id."
	default:
		a.reply, a.wrong = true, ""
	}
	if !a.reply && len(a.body) > maxNoise {
		a.body = a.body[:maxNoise]
	}
	return a.reply
}

func (a *answer) stream(body io.Reader, id []byte, start time.Time, before func()) error {
	a.wrong = "The stream ended without the reply."
	return events(body, func(_ string, data []byte) bool {
		if a.events++; a.events == 1 {
			a.firstEvent = time.Since(start)
		}
		if len(id) == 0 || len(data) == 0 {
			return true
		}
		if a.take(bytes.Clone(data), id) {
			return false
		}
		before()
		return true
	})
}

// events reads server-sent events until more returns false or the stream ends.
func events(body io.Reader, more func(name string, data []byte) bool) error {
	r := bufio.NewReader(body)
	var name string
	var data []byte
	has := false
	for {
		text, err := r.ReadBytes('\n')
		text = bytes.TrimRight(text, "\r\n")
		field, value, _ := bytes.Cut(text, []byte{':'})
		value = bytes.TrimPrefix(value, []byte{' '})
		switch {
		case err != nil && err != io.EOF: //nolint:errorlint // io.Reader returns it bare
			return err
		case len(text) == 0:
			if has && err == nil && !more(name, data) {
				return nil
			}
			name, data, has = "", nil, false
		case string(field) == "event":
			name = string(value)
		case string(field) == "data":
			if has {
				data = append(data, '\n')
			}
			data, has = append(data, value...), true
		}
		if err != nil {
			return nil
		}
	}
}

// step notes how long an exchange took.
func (l *line) step(name string, a *answer) {
	if a == nil || l.steps == nil {
		return
	}
	s := report.Step{Name: name, DurationMs: ms(a.took)}
	if a.kind == "sse" {
		s.FirstByteMs = ms(a.firstEvent)
	}
	*l.steps = append(*l.steps, s)
}

func ms(d time.Duration) int64 { return d.Milliseconds() }

// challenge returns the WWW-Authenticate header.
func (a *answer) challenge() string { return strings.Join(a.header.Values("WWW-Authenticate"), ", ") }
