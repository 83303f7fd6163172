package bridge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"

	"headgate/client"
	"headgate/internal/fault"
	"headgate/internal/mcp"
)

// message is one message of the client and what became of it.
type message struct {
	body     []byte
	e        mcp.Envelope
	id       []byte // raw; nil for what has no answer
	batch    bool
	modern   bool
	answered bool
}

func (m *message) key() string {
	if m.batch {
		return fmt.Sprintf("batch %p", m)
	}
	return string(m.id)
}

func (m *message) name() string {
	if m.e.Method == "" {
		return "An answer to the server"
	}
	return m.e.Method
}

func messageOf(err error) string {
	var (
		f     *fault.Error
		dial  *net.OpError
		asked *url.Error
	)
	switch {
	case errors.As(err, &f):
		return f.Message
	case errors.As(err, &dial) && dial.Op == "dial":
		if errors.As(err, &asked) {
			return errNothing.Saying("Nothing answers at %s. Is it running, and is the URL right?", asked.URL).Message
		}
		return errNothing.Message
	}
	return err.Error()
}

// relay makes the exchange of one message and passes its answer on. A session
// that the server does not know any more is opened again, once.
func (b *bridge) relay(ctx context.Context, m *message) error {
	at := b.session.now()
	resp, err := b.post(ctx, m, at)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusNotFound && at.id != "" && !m.modern && m.e.Method != mcp.MethodInitialize {
		drain(resp)
		if at, err = b.reopen(ctx, at); err != nil {
			return err
		}
		if resp, err = b.post(ctx, m, at); err != nil {
			return err
		}
	}
	defer drain(resp)
	return b.answer(m, resp)
}

// post sends a message with the headers its era wants.
func (b *bridge) post(ctx context.Context, m *message, at state) (*http.Response, error) {
	r, err := b.begin(ctx, http.MethodPost, m.body, at)
	if err != nil {
		return nil, err
	}
	h := r.Header
	h.Set("Content-Type", "application/json")
	h.Set("Accept", "application/json, text/event-stream")
	switch {
	case m.modern:
		b.mirror(h, m)
	case m.e.Method == mcp.MethodInitialize:
		h.Del(mcp.HeaderSessionID)
		h.Del(mcp.HeaderProtocolVersion)
	}
	return b.HTTP.Do(r)
}

// begin makes a request with credential and, of a legacy session, its headers.
func (b *bridge) begin(ctx context.Context, method string, body []byte, at state) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, b.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	credential, err := b.Credential(ctx)
	if err != nil {
		return nil, err
	}
	if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	r.Header.Set("User-Agent", b.UserAgent)
	if at.id != "" {
		r.Header.Set(mcp.HeaderSessionID, at.id)
	}
	if at.revision.AtLeast(mcp.Revision20250618) {
		r.Header.Set(mcp.HeaderProtocolVersion, string(at.revision))
	}
	return r, nil
}

// mirror says in headers what the modern era wants said there.
func (b *bridge) mirror(h http.Header, m *message) {
	h.Del(mcp.HeaderSessionID)
	h.Set(mcp.HeaderProtocolVersion, m.e.ProtocolVersion)
	h.Set(mcp.HeaderMethod, m.e.Method)
	named := mcp.Span{}
	switch mcp.NamedBy(m.e.Method) {
	case "name":
		named = m.e.Name
	case "uri":
		named = m.e.URI
	case "taskId":
		named = m.e.TaskID
	}
	name, err := mcp.String(m.body, named)
	if named.Empty() || err != nil {
		return
	}
	h.Set(mcp.HeaderName, mcp.EncodeHeader(name))
	if m.e.Method != mcp.MethodToolsCall {
		return
	}
	b.mu.Lock()
	wanted := b.params[name]
	b.mu.Unlock()
	for _, p := range wanted {
		v, ok := mcp.Find(m.body, m.e.Arguments, p.Path...)
		if !ok {
			continue
		}
		if value, ok := mcp.AppendParam(nil, m.body, v); ok {
			h.Set(mcp.HeaderParamPrefix+p.Header, string(value))
		}
	}
}

// answer passes on what the server sent, in whichever form.
func (b *bridge) answer(m *message, resp *http.Response) error {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusAccepted, resp.StatusCode == http.StatusNoContent:
		return nil
	case kind == "text/event-stream" && resp.StatusCode == http.StatusOK:
		for e, err := range client.NewStream(resp.Body).All() {
			if err != nil {
				return err
			}
			b.deliver(e.Data, m, resp)
		}
		return nil
	case kind == "application/json":
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxLine+1))
		if err != nil {
			return err
		}
		if len(body) > maxLine {
			return errUnreadable
		}
		if resp.StatusCode >= 400 {
			return b.refusal(m, resp, body)
		}
		if m.batch {
			b.write(body)
			return nil
		}
		b.deliver(body, m, resp)
		return nil
	}
	return statusError(resp.StatusCode)
}

// refusal passes on a JSON-RPC error that came with a status of failure, under
// the request's id even where the server left it out.
func (b *bridge) refusal(m *message, resp *http.Response, body []byte) error {
	var e mcp.Envelope
	if mcp.ScanReply(body, &e, mcp.Limits{}) != nil || e.Kind != mcp.ErrorResponse {
		return statusError(resp.StatusCode)
	}
	text, err := mcp.String(body, e.ErrorMessage)
	if m.id == nil || err != nil {
		return errStatus.Saying("The server refused it: %s", text)
	}
	b.write(mcp.AppendError(nil, m.id, int(e.ErrorCode), text, e.ErrorData.Of(body)))
	m.answered = true
	return nil
}

func statusError(status int) error {
	switch {
	case status == http.StatusUnauthorized:
		return errRefused
	case status >= 300 && status < 400:
		return errStatus.Saying("The server redirects to another address. Use that one as the URL.")
	}
	return errStatus.Saying("The server answered %d %s, which is no MCP. Is the URL that of an MCP endpoint?", status, http.StatusText(status))
}

// deliver passes one message of the server on, and learns from it what later
// requests need.
func (b *bridge) deliver(body []byte, m *message, resp *http.Response) {
	var e mcp.Envelope
	if err := mcp.ScanReply(body, &e, mcp.Limits{}); err != nil {
		if errors.Is(err, mcp.ErrBatch) && m.batch {
			b.write(body)
			return
		}
		b.Log("left out a message of the server: %s", messageOf(err))
		return
	}
	if e.Kind.IsReply() {
		if m.id == nil && !m.batch || m.id != nil && !mcp.SameID(e.ID.Of(body), m.id) {
			b.Log("left out an answer of the server to nothing that was asked")
			return
		}
		if m.answered && !m.batch {
			return
		}
		m.answered = true
		switch m.e.Method {
		case mcp.MethodInitialize:
			b.session.opened(resp.Header.Get(mcp.HeaderSessionID), body, &e, m.body)
		case mcp.MethodToolsList:
			b.learn(body, &e)
		}
	}
	b.write(body)
}

const maxTools = 20_000

// learn remembers which arguments of which tools go into headers.
func (b *bridge) learn(body []byte, e *mcp.Envelope) {
	tools, _ := mcp.Get(body, e.Result, "tools")
	for t := range mcp.Elements(body, tools) {
		name, ok := mcp.Get(body, t, "name")
		schema, has := mcp.Get(body, t, "inputSchema")
		text, err := mcp.String(body, name)
		if !ok || !has || err != nil {
			continue
		}
		params, err := mcp.ParamHeaders(schema.Of(body))
		b.mu.Lock()
		if err != nil || len(params) == 0 {
			delete(b.params, text)
		} else if len(b.params) < maxTools {
			b.params[text] = params
		}
		b.mu.Unlock()
	}
}

// drain lets the connection be used again where little is left to read.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}

// NewHTTP returns the HTTP client a bridge wants: streams without an end, no
// redirects, since they would take the credential elsewhere.
func NewHTTP() *http.Client {
	return &http.Client{
		Transport:     http.DefaultTransport.(*http.Transport).Clone(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
