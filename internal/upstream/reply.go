package upstream

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"headgate/internal/mcp"
	"headgate/internal/upstream/wire"
)

// reply is the result of a request of the hub's own.
type reply struct {
	body []byte // valid until the response is released
	env  mcp.Envelope
}

// rpcError is a JSON-RPC error that answered a request of the hub's own.
type rpcError struct {
	code int64
	data []byte
}

func (e *rpcError) Error() string { return fmt.Sprintf("JSON-RPC error %d", e.code) }

// Is makes every rpcError errRPC.
func (e *rpcError) Is(target error) bool { return target == errRPC }

var errRPC = errors.New("a JSON-RPC error")

// oneReply reads the answer to one of the hub's own requests, passing over
// whatever comes before it.
func (h *Hub) oneReply(resp *wire.Response, id []byte) (*reply, error) {
	r := &reply{}
	switch {
	case resp.Status == 401:
		return nil, ErrAuth.Because(&Challenge{resp.Header("WWW-Authenticate")})
	case resp.Status >= 500:
		return nil, ErrFailed.With("status", resp.Status)
	case resp.Status >= 300 && resp.Status < 400:
		return nil, nonsense("a redirect")
	case resp.Status == 403:
		return nil, forbidden(resp.Header("WWW-Authenticate"))
	case resp.Status >= 400 && resp.Kind != wire.JSON, resp.Status == 429:
		return nil, ErrRejected.With("status", resp.Status)
	case resp.Kind == wire.JSON:
		body, err := resp.ReadAll(maxFacts)
		if err != nil {
			return nil, honest(err)
		}
		if err := mcp.ScanReply(body, &r.env, mcp.Limits{}); err != nil {
			if resp.Status >= 400 {
				return nil, ErrRejected.With("status", resp.Status)
			}
			return nil, ErrNonsense.Because(err)
		}
		r.body = body
	case resp.Kind == wire.SSE:
		if err := r.fromStream(resp); err != nil {
			return nil, err
		}
	default:
		return nil, nonsense("the answer is neither JSON nor an event stream")
	}
	return r.judge(resp.Status, id)
}

func (r *reply) fromStream(resp *wire.Response) error {
	for {
		e, err := resp.NextEvent(maxAnswer)
		if err != nil {
			return ErrLost.Because(err)
		}
		if len(e.Data) == 0 {
			continue
		}
		if err := mcp.ScanReply(e.Data, &r.env, mcp.Limits{}); err != nil {
			return ErrNonsense.Because(err)
		}
		if r.env.Kind.IsReply() {
			r.body = e.Data
			return nil
		}
	}
}

func (r *reply) judge(status int, id []byte) (*reply, error) {
	e := &r.env
	switch {
	case !e.Kind.IsReply():
		return nil, nonsense("no answer")
	case e.Kind == mcp.ErrorResponse && (e.ID.Empty() || mcp.SameID(id, e.ID.Of(r.body))):
		return nil, &rpcError{e.ErrorCode, slices.Clone(e.ErrorData.Of(r.body))}
	case !mcp.SameID(id, e.ID.Of(r.body)) || status >= 400:
		return nil, nonsense("the answer has another request's id")
	}
	return r, nil
}

// member returns a member of the result.
func (r *reply) member(key string) (mcp.Span, bool) { return mcp.Get(r.body, r.env.Result, key) }

// object copies a member that is an object.
func (r *reply) object(key string) []byte {
	v, ok := r.member(key)
	if !ok || r.body[v.Start] != '{' {
		return nil
	}
	return slices.Clone(v.Of(r.body))
}

// ttl reads ttlMs.
func (r *reply) ttl() (time.Duration, bool) {
	v, ok := r.member("ttlMs")
	if !ok {
		return 0, false
	}
	ms, err := strconv.ParseInt(string(v.Of(r.body)), 10, 64)
	if err != nil || ms < 0 {
		return 0, false
	}
	return time.Duration(min(ms, int64(24*time.Hour/time.Millisecond))) * time.Millisecond, true
}

func (r *reply) facts(era mcp.Era, revision mcp.Revision) *Facts {
	f := &Facts{Era: era, Revision: revision, Capabilities: r.object("capabilities"), ServerInfo: r.object("serverInfo")}
	if f.Capabilities == nil {
		f.Capabilities = []byte(`{}`)
	}
	if era == mcp.Modern && !r.env.ServerInfo.Empty() {
		f.ServerInfo = slices.Clone(r.env.ServerInfo.Of(r.body))
	}
	if v, ok := r.member("instructions"); ok {
		f.Instructions = textOf(r.body, v)
	}
	return f
}

// Has reports whether the server declares a capability, such as "tools".
func (f *Facts) Has(capability string) bool {
	_, ok := mcp.Get(f.Capabilities, mcp.Root(f.Capabilities), capability)
	return ok
}

func (h *Hub) clientInfo(dst []byte) []byte {
	dst = append(dst, `{"name":"headgate","version":`...)
	return append(mcp.AppendString(dst, h.opts.Version), '}')
}

func (h *Hub) appendInitialize(dst []byte, r mcp.Revision, capabilities, info []byte) []byte {
	params := append([]byte(`{"protocolVersion":"`), r...)
	params = append(params, `","capabilities":`...)
	if len(capabilities) == 0 {
		capabilities = []byte(`{}`)
	}
	params = append(append(params, capabilities...), `,"clientInfo":`...)
	if len(info) == 0 {
		params = h.clientInfo(params)
	} else {
		params = append(params, info...)
	}
	return mcp.AppendRequest(dst, []byte(initializeID), mcp.MethodInitialize, append(params, '}'))
}

// appendModern appends a request of the hub's own in the modern era. members
// are further members of params, each followed by a comma.
func (h *Hub) appendModern(dst, id []byte, method string, members []byte) []byte {
	return h.appendCapable(dst, id, method, members, `{}`)
}

// appendCapable is appendModern with capabilities.
func (h *Hub) appendCapable(dst, id []byte, method string, members []byte, capabilities string) []byte {
	params := append([]byte(`{`), members...)
	params = append(params, `"_meta":{"`+mcp.MetaProtocolVersion+`":"`+string(mcp.LatestModern)+`","`+mcp.MetaClientCapabilities+`":`+capabilities+`,"`+mcp.MetaClientInfo+`":`...)
	params = append(h.clientInfo(params), "}}"...)
	return mcp.AppendRequest(dst, id, method, params)
}
