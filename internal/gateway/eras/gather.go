package eras

import (
	"context"
	"slices"
	"strconv"

	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

// waitKey names an answer that a call waits for: the client's session and the
// id of the question.
type waitKey struct{ session, id string }

// asking is one question under way.
type asking struct {
	key    []byte // in inputRequests, raw
	method string
	id     string
	reply  chan []byte
}

// gather asks the client all that a server wants to know and returns the
// responses, an object; or the answer to give when the client refuses.
func (u *ascent) gather(ctx context.Context, body []byte, requests mcp.Span) (responses, refusal []byte, err error) {
	var all []asking
	defer func() {
		for _, q := range all {
			u.t.forget(waitKey{u.r.Affinity, q.id})
		}
	}()
	for m := range mcp.Members(body, requests) {
		if len(all) == maxQuestions {
			return nil, nil, ErrRounds
		}
		q, err := u.ask(body, m)
		if err != nil {
			return nil, nil, err
		}
		all = append(all, q)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, answerTime, ErrUnanswered)
	defer cancel()
	responses = []byte{'{'}
	for i, q := range all {
		var reply []byte
		select {
		case reply = <-q.reply:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
		value, refused := u.response(q, reply)
		if refused != nil {
			return nil, refused, nil
		}
		if i > 0 {
			responses = append(responses, ',')
		}
		responses = append(append(append(responses, q.key...), ':'), value...)
	}
	return append(responses, '}'), nil, nil
}

// ask sends one question to the client.
func (u *ascent) ask(body []byte, m mcp.Member) (asking, error) {
	q := asking{key: slices.Clone(m.Key.Of(body)), reply: make(chan []byte, 1)}
	method, _ := mcp.Get(body, m.Value, "method")
	q.method, _ = mcp.String(body, method)
	var params []byte
	if v, ok := mcp.Get(body, m.Value, "params"); ok && body[v.Start] == '{' {
		params = slices.Clone(v.Of(body))
	}
	if u.sink == nil || !Asks(q.method) || !Offers(u.r.Client.Capabilities, q.method, params) {
		return q, ErrCapability
	}
	n := strconv.FormatUint(u.t.serial.Add(1), 10)
	if q.method == mcp.MethodElicitCreate && mode(params) == urlMode { // legacy clients know such an elicitation by an id
		id := "headgate-" + n
		params = mcp.InsertMember(nil, params, mcp.Root(params), "elicitationId", mcp.AppendString(nil, id))
		u.open = append(u.open, id)
	}
	q.id = `"headgate-ask-` + n + `"`
	message := mcp.AppendRequest(nil, []byte(q.id), q.method, params)
	var e mcp.Envelope
	if err := mcp.ScanReply(message, &e, mcp.Limits{}); err != nil {
		return q, upstream.ErrNonsense.Because(err)
	}
	u.t.expect(waitKey{u.r.Affinity, q.id}, q.reply)
	return q, u.sink.Event(message, &e)
}

// response turns a client's reply into an entry of inputResponses. A refusal
// that no entry can say becomes the answer of the call.
func (u *ascent) response(q asking, reply []byte) (value, refusal []byte) {
	var e mcp.Envelope
	if err := mcp.ScanReply(reply, &e, mcp.Limits{}); err == nil && e.Kind == mcp.Response {
		return e.Result.Of(reply), nil
	}
	switch q.method {
	case mcp.MethodElicitCreate:
		return []byte(`{"action":"cancel"}`), nil
	case mcp.MethodRootsList:
		return []byte(`{"roots":[]}`), nil
	}
	text, _ := mcp.String(reply, e.ErrorMessage)
	return nil, mcp.AppendError(nil, u.r.ID, int(e.ErrorCode), text, e.ErrorData.Of(reply))
}

// expect notes that a call waits for an answer.
func (t *Translator) expect(key waitKey, reply chan<- []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting[key] = reply
}

func (t *Translator) forget(key waitKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.waiting, key)
}

// answered gives a client's reply to the call that waits for it.
func (t *Translator) answered(session string, message []byte, e *mcp.Envelope) bool {
	key := waitKey{session, string(e.ID.Of(message))}
	t.mu.Lock()
	reply := t.waiting[key]
	delete(t.waiting, key)
	t.mu.Unlock()
	if reply == nil {
		return false
	}
	reply <- slices.Clone(message)
	return true
}
