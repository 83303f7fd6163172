package upstream

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/upstream/wire"
)

const (
	maxResumes = 1000
	maxRetry   = 30 * time.Second
)

// stream reads an event stream up to the answer. A legacy server may end it
// before, if it gave an event id to go on from (2025-11-25, SSE polling).
func (x *exchange) stream(ctx context.Context) (*Answer, error) {
	var id string
	var retry time.Duration
	for resumes := 0; ; resumes++ {
		answer, err := x.events()
		if err != io.EOF {
			return answer, err
		}
		if last, wait := x.resp.Resume(); last != "" {
			id, retry = last, wait
		}
		if x.session == nil || id == "" || resumes == maxResumes {
			return nil, ErrLost.Because(errorString("the event stream ended without the answer"))
		}
		x.drop()
		if err := x.resume(ctx, id, retry); err != nil {
			return nil, err
		}
	}
}

// events passes events on until the answer comes; io.EOF at the stream's end.
func (x *exchange) events() (*Answer, error) {
	for {
		e, err := x.resp.NextEvent(maxAnswer)
		if err != nil {
			if err == io.EOF {
				return nil, err
			}
			return nil, honest(err)
		}
		if len(e.Data) == 0 || len(e.Name) > 0 && string(e.Name) != "message" {
			continue
		}
		if err := mcp.ScanReply(e.Data, &x.Envelope, mcp.Limits{}); err != nil {
			answer, err := x.several(e.Data, err)
			if answer != nil || err != nil {
				return answer, err
			}
			continue
		}
		if x.Envelope.Kind.IsReply() {
			if !mcp.SameID(x.id, x.Envelope.ID.Of(e.Data)) {
				return nil, nonsense("an event has another request's id")
			}
			return x.answer(e.Data, x.resp.Status)
		}
		if err := x.deliver(e.Data); err != nil {
			return nil, err
		}
	}
}

// several takes messages that came as one, which a server may do in the one
// revision that has batches. The answer, if it is among them, comes last. flaw
// is why they are not one message.
func (x *exchange) several(batch []byte, flaw error) (*Answer, error) {
	if x.session == nil {
		return nil, ErrNonsense.Because(flaw)
	}
	messages, err := x.session.split(batch, flaw)
	if err != nil {
		return nil, err
	}
	var answer []byte
	for _, message := range messages {
		switch err := mcp.ScanReply(message, &x.Envelope, mcp.Limits{}); {
		case err != nil:
			return nil, ErrNonsense.Because(err)
		case !x.Envelope.Kind.IsReply():
			if err := x.deliver(message); err != nil {
				return nil, err
			}
		case answer != nil || !mcp.SameID(x.id, x.Envelope.ID.Of(message)):
			return nil, nonsense("a batch has another request's answer")
		default:
			answer = message
		}
	}
	if answer == nil {
		return nil, nil
	}
	if err := mcp.ScanReply(answer, &x.Envelope, mcp.Limits{}); err != nil {
		return nil, ErrNonsense.Because(err)
	}
	return x.answer(answer, x.resp.Status)
}

// split returns the messages of a batch, if the session's revision has them.
func (s *session) split(batch []byte, flaw error) ([][]byte, error) {
	if !errors.Is(flaw, mcp.ErrBatch) || s.facts.Revision != mcp.Revision20250326 {
		return nil, ErrNonsense.Because(flaw)
	}
	spans, err := mcp.SplitBatch(batch, mcp.Limits{Depth: mcp.DefaultReplyDepth})
	if err != nil {
		return nil, ErrNonsense.Because(err)
	}
	messages := make([][]byte, len(spans))
	for i, span := range spans {
		messages[i] = span.Of(batch)
	}
	return messages, nil
}

// deliver hands a notification or a server's request to the caller.
func (x *exchange) deliver(message []byte) error {
	x.peer.notice(&x.Envelope)
	if x.Envelope.Kind == mcp.Request {
		x.progressed(answerTime)
	}
	if x.Envelope.Method == mcp.NotifyProgress {
		x.progressed(x.patience)
		if x.token != nil && mcp.SameID(x.ownToken, x.Envelope.Progress.Of(message)) {
			message = mcp.Splice(nil, message, mcp.Edit{Span: x.Envelope.Progress, With: x.token})
			if err := mcp.ScanReply(message, &x.Envelope, mcp.Limits{}); err != nil {
				return ErrNonsense.Because(err)
			}
		}
	}
	if x.sink == nil {
		if x.Envelope.Kind == mcp.Request && x.session != nil {
			x.peer.decline(x.session, message, &x.Envelope)
		}
		return nil
	}
	x.delivered = true
	return x.sink.Event(message, &x.Envelope)
}

// resume opens a stream again behind its last event.
func (x *exchange) resume(ctx context.Context, id string, retry time.Duration) error {
	if retry <= 0 {
		retry = x.hub.opts.Resume
	}
	if !pause(ctx, min(retry, maxRetry), x.http.Deadline) {
		return cut(ctx, true)
	}
	fields := append(x.fields[:0:0], x.fields...)
	fields = append(fields, wire.Field{Name: mcp.HeaderLastEventID, Value: id})
	resp, err := x.hub.calls.Do(ctx, &wire.Request{Method: "GET", Target: x.peer.target.Load(), Accept: "text/event-stream", Fields: fields, Deadline: x.http.Deadline})
	if err != nil {
		if errors.Is(err, ErrUnreachable) {
			err = ErrLost.Because(err) // the request itself went out long ago
		}
		return honest(err)
	}
	x.resp = resp
	if resp.Status >= 300 || resp.Kind != wire.SSE {
		return ErrLost.Because(errorString("the server does not resume its event stream"))
	}
	return nil
}

// pause waits, and reports false when the context or the deadline ends it.
func pause(ctx context.Context, d time.Duration, deadline time.Time) bool {
	if !deadline.IsZero() && time.Now().Add(d).After(deadline) {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// errSessionLost means that the server does not know the session: it refused
// the request before it looked at it.
var errSessionLost = errors.New("the server does not know the session")

// refused judges an answer with a status of 300 or more.
func (x *exchange) refused() (*Answer, error) {
	resp := x.resp
	status := resp.Status
	switch {
	case status < 400:
		return nil, nonsense("a redirect")
	case status >= 500:
		return nil, ErrFailed.With("status", status)
	case status == 401:
		return nil, ErrAuth.Because(&Challenge{resp.Header("WWW-Authenticate")})
	case status == 404 && x.session != nil && x.session.id != "":
		return nil, errSessionLost
	case status == 403:
		return nil, forbidden(resp.Header("WWW-Authenticate")).After(retryAfter(resp.Header("Retry-After")))
	case status == 429:
		return nil, ErrRejected.With("status", status).After(retryAfter(resp.Header("Retry-After")))
	}
	if resp.Kind != wire.JSON {
		return nil, ErrRejected.With("status", status)
	}
	body, err := resp.ReadAll(maxRefusal)
	if err != nil {
		return nil, ErrRejected.With("status", status)
	}
	return x.refusal(status, body)
}

// refusal judges the body of an answer with a status of 400 or more.
func (x *exchange) refusal(status int, body []byte) (*Answer, error) {
	rejected := ErrRejected.With("status", status)
	if mcp.ScanReply(body, &x.Envelope, mcp.Limits{}) != nil || x.Envelope.Kind != mcp.ErrorResponse {
		return nil, rejected
	}
	inSession := x.session != nil && x.session.id != ""
	if inSession && (status == 404 || status == 400 && aboutSession(body, &x.Envelope)) {
		return nil, errSessionLost
	}
	switch {
	case x.Envelope.ID.Empty():
		// The server could not, or did not, say which request it refused. There is one.
		x.again = mcp.AppendError(nil, x.r.ID, int(x.Envelope.ErrorCode), textOf(body, x.Envelope.ErrorMessage), x.Envelope.ErrorData.Of(body))
		if err := mcp.ScanReply(x.again, &x.Envelope, mcp.Limits{}); err != nil {
			return nil, rejected
		}
		return x.answered(x.again, status), nil
	case !mcp.SameID(x.id, x.Envelope.ID.Of(body)):
		return nil, nonsense("a refusal has another request's id")
	}
	return x.answer(body, status)
}

// aboutSession recognises how common servers say, with 400 instead of 404,
// that they do not know a session.
func aboutSession(body []byte, e *mcp.Envelope) bool {
	if e.ErrorCode != -32000 && e.ErrorCode != mcp.CodeInvalidRequest {
		return false
	}
	text := strings.ToLower(textOf(body, e.ErrorMessage))
	return strings.Contains(text, "session") || strings.Contains(text, "not initialized")
}

func textOf(b []byte, v mcp.Span) string {
	text, _ := mcp.String(b, v) // "" when it is no text
	return text
}

// retryAfter reads a number of seconds; dates are not worth it.
func retryAfter(text string) time.Duration {
	var n time.Duration
	for _, c := range []byte(text) {
		if c < '0' || c > '9' || len(text) > 6 {
			return 0
		}
		n = n*10 + time.Duration(c-'0')
	}
	return n * time.Second
}
