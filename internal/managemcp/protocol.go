package managemcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// maxMessage bounds a request: the largest that an operation takes, and room
// around it.
const maxMessage = 6 << 20

// capabilities are what the server really has: nothing is announced to anybody
// later, since no connection is held.
func capabilities(extras bool) *mcp.ServerCapabilities {
	c := &mcp.ServerCapabilities{Tools: &mcp.ToolCapabilities{}}
	if extras {
		c.Prompts, c.Resources = &mcp.PromptCapabilities{}, &mcp.ResourceCapabilities{}
	}
	return c
}

// private keeps answers out of caches that callers share: one URL serves
// everybody, and whose key it is decides what is answered.
func private(next mcp.MethodHandler) mcp.MethodHandler {
	return func(ctx context.Context, method string, r mcp.Request) (mcp.Result, error) {
		res, err := next(ctx, method, r)
		if err != nil {
			return nil, err
		}
		switch res := res.(type) {
		case *mcp.DiscoverResult:
			res.CacheScope = "private"
		case *mcp.ListToolsResult:
			res.CacheScope = "private"
		case *mcp.ListPromptsResult:
			res.CacheScope = "private"
		case *mcp.ListResourcesResult:
			res.CacheScope = "private"
		case *mcp.ListResourceTemplatesResult:
			res.CacheScope = "private"
		case *mcp.ReadResourceResult:
			res.CacheScope = "private"
		}
		return res, nil
	}
}

func wrongParams(message string) error {
	return &jsonrpc.Error{Code: jsonrpc.CodeInvalidParams, Message: message}
}

// spoken gives a message to the SDK and sees to it that a refusal is JSON-RPC:
// the SDK answers what it cannot read with plain text, and repeats it.
func spoken(w http.ResponseWriter, r *http.Request, next http.Handler) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessage))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		refuseMessage(w, http.StatusRequestEntityTooLarge, nil, jsonrpc.CodeInvalidRequest, "The message is too large.")
		return
	case err != nil:
		return // nobody is there any more
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	rec := &refusals{ResponseWriter: w}
	next.ServeHTTP(rec, r)
	if rec.status == 0 {
		return
	}
	var m struct {
		ID     json.RawMessage
		Method string
	}
	switch trimmed := bytes.TrimSpace(body); {
	case r.Method != http.MethodPost:
		refuseMessage(w, rec.status, nil, jsonrpc.CodeInvalidRequest, "Messages come by POST.")
	case !json.Valid(trimmed):
		refuseMessage(w, rec.status, nil, jsonrpc.CodeParseError, "The message is no JSON.")
	case json.Unmarshal(trimmed, &m) != nil || m.Method == "":
		refuseMessage(w, rec.status, nil, jsonrpc.CodeInvalidRequest, "One JSON-RPC request or notification goes into a message.")
	case strings.Contains(rec.text, "unsupported") && strings.Contains(rec.text, "not handled"):
		refuseMessage(w, http.StatusOK, m.ID, jsonrpc.CodeMethodNotFound, "There is no such method here.")
	default:
		refuseMessage(w, rec.status, m.ID, jsonrpc.CodeInvalidRequest, "The request does not fit the protocol. Check its parameters and the headers Accept (application/json, text/event-stream), Content-Type and MCP-Protocol-Version.")
	}
}

func refuseMessage(w http.ResponseWriter, status int, id json.RawMessage, code int, message string) {
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	text, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": id, "error": map[string]any{"code": code, "message": message}})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Del("Content-Length")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n'))
}

// refusals holds back refusals in plain text and lets everything else pass.
type refusals struct {
	http.ResponseWriter
	status int
	text   string
}

func (w *refusals) WriteHeader(status int) {
	if status >= http.StatusBadRequest && strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") {
		w.status = status
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *refusals) Write(b []byte) (int, error) {
	if w.status != 0 {
		if len(w.text) < 1000 {
			w.text += string(b)
		}
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for http.ResponseController.
func (w *refusals) Unwrap() http.ResponseWriter { return w.ResponseWriter }
