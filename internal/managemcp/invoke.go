package managemcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Caller sends a request to the Platform API: in process, or over the network.
type Caller func(ctx context.Context, r *http.Request) (*http.Response, error)

// Identity is whom a tool acts as.
type Identity struct {
	Key      string // an organization's or a workspace's
	Operator string // the operator's; only for the operator tier
}

// The words of failures.
const (
	errAuth        = "AUTH_ERROR"
	errRate        = "RATE_LIMITED"
	errTier        = "CP_TIER_NOT_CONFIGURED"
	errArguments   = "INVALID_ARGUMENTS"
	errUnreachable = "Tenant host unreachable at " // and the host
)

// failure is how every failure is told. Status is null when nothing was called.
type failure struct {
	Error  string `json:"error"`
	Detail any    `json:"detail"`
	Status *int   `json:"status"`
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 16 << 20

// invocation is one use of a tool.
type invocation struct {
	tool    *tool
	call    Caller
	base    string // before paths: "" in process
	who     Identity
	given   map[string]any
	header  http.Header
	said    string // beside the answer, for people
	failure *failure
}

// invoke runs a tool: validate, call, translate. It never fails but in its
// result.
func invoke(ctx context.Context, t *tool, call Caller, base string, who Identity, arguments json.RawMessage) *mcp.CallToolResult {
	c := &invocation{tool: t, call: call, base: base, who: who, header: http.Header{}}
	answer := c.run(ctx, arguments)
	if c.failure != nil {
		return result(c.failure, true)
	}
	return result(answer, false)
}

func result(v any, failed bool) *mcp.CallToolResult {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return result(failure{Error: "INTERNAL", Detail: "The answer cannot be written."}, true)
	}
	r := &mcp.CallToolResult{IsError: failed, Content: []mcp.Content{&mcp.TextContent{Text: strings.TrimSpace(text.String())}}}
	if !failed { // clients hold structured content to the output schema, failures too
		r.StructuredContent = json.RawMessage(bytes.TrimSpace(text.Bytes()))
	}
	return r
}

func (c *invocation) run(ctx context.Context, arguments json.RawMessage) any {
	if !c.validate(arguments) || !c.credential() {
		return nil
	}
	if c.tool.before != nil && !c.tool.before(ctx, c) {
		return nil
	}
	r, ok := c.request(ctx)
	if !ok {
		return nil
	}
	return c.send(r)
}

// credential chooses whom the tool acts as. The operator tier is never reached
// with an organization's key.
func (c *invocation) credential() bool {
	key := c.who.Key
	if c.tool.operator {
		if key = c.who.Operator; key == "" {
			c.fail(errTier, "This tool needs the operator's key (X-Headgate-Operator-Key, or HEADGATE_OPERATOR_KEY over stdio). Nothing was called.", 0)
			return false
		}
		if !strings.HasPrefix(key, "op_") {
			c.fail(errAuth, "The operator tier takes an operator key (op_…) alone. Nothing was called.", 0)
			return false
		}
	}
	if key == "" {
		c.fail(errAuth, "No key is set (HEADGATE_ORG_KEY). Nothing was called.", 0)
		return false
	}
	c.header.Set("Authorization", "Bearer "+key)
	return true
}

// request puts arguments and fixed values where the operation takes them.
func (c *invocation) request(ctx context.Context) (*http.Request, bool) {
	path, query, body := c.tool.path, url.Values{}, map[string]any{}
	put := func(name string, at place, v any) bool {
		switch at.in {
		case "path":
			text, ok := segment(v)
			if !ok {
				c.invalid(name, "is no id or name")
				return false
			}
			path = strings.Replace(path, "{"+at.name+"}", text, 1)
		case "query":
			query.Set(at.name, fmt.Sprint(v))
		default:
			body[at.name] = c.tool.rename(v, at.schema, toCamel)
		}
		return true
	}
	said := map[string]bool{}
	for name, v := range c.given {
		at := c.tool.places[name]
		said[at.name] = true
		if !put(name, at, v) {
			return nil, false
		}
	}
	for name, v := range c.tool.fixed {
		if !said[name] && !put(name, c.tool.fixedAt[name], v) {
			return nil, false
		}
	}
	if strings.Contains(path, "{") {
		c.fail(errArguments, "An id is missing.", 0)
		return nil, false
	}
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	var content io.Reader
	if c.tool.body {
		text, err := json.Marshal(body)
		if err != nil {
			c.fail(errArguments, "The arguments cannot be sent.", 0)
			return nil, false
		}
		content = bytes.NewReader(text)
	}
	return c.build(ctx, c.tool.method, path, content)
}

func (c *invocation) build(ctx context.Context, method, path string, content io.Reader) (*http.Request, bool) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, content)
	if err != nil {
		c.fail(errArguments, "An argument cannot be part of a request.", 0)
		return nil, false
	}
	for name, values := range c.header {
		r.Header[name] = values
	}
	if content != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, true
}

// fetch asks the Platform API for something a tool needs to know first.
func (c *invocation) fetch(ctx context.Context, method, path string, into any) bool {
	base, _, _ := strings.Cut(c.tool.path, "/workspaces")
	r, ok := c.build(ctx, method, base+path, nil)
	if !ok {
		return false
	}
	status, text := c.exchange(r)
	if c.failure != nil {
		return false
	}
	if status >= 300 {
		c.refused(status, text)
		return false
	}
	if err := json.Unmarshal(text, into); err != nil {
		c.fail(fmt.Sprintf("HTTP %d", status), "The answer is none of the Platform API.", status)
		return false
	}
	return true
}

// exchange sends a request and reads the whole answer.
func (c *invocation) exchange(r *http.Request) (int, []byte) {
	resp, err := c.call(r.Context(), r)
	if errors.Is(err, errBroken) {
		c.fail("HTTP 500", "Something went wrong on our side, in the midst of the answer. Look whether what was asked for has happened before you ask again.", http.StatusInternalServerError)
		return 0, nil
	}
	if err != nil {
		c.unreachable(r)
		return 0, nil
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil || len(text) > maxAnswer {
		c.unreachable(r)
		return 0, nil
	}
	return resp.StatusCode, text
}

func (c *invocation) unreachable(r *http.Request) {
	c.fail(errUnreachable+r.URL.Scheme+"://"+r.URL.Host, "Nothing answered there, or only half an answer came. Check that Headgate runs and that HEADGATE_URL is right, then try again; what was asked for may have happened.", 0)
}

// send makes the call and returns what the tool answers.
func (c *invocation) send(r *http.Request) any {
	status, text := c.exchange(r)
	switch {
	case c.failure != nil:
		return nil
	case status >= 300:
		c.refused(status, text)
		return nil
	case len(bytes.TrimSpace(text)) == 0:
		out := map[string]any{"raw": "", "status": status}
		if c.tool.finish != nil {
			c.tool.finish(c, out)
		}
		return out
	}
	var envelope struct {
		Data map[string]any `json:"data"`
		Meta struct {
			Message string `json:"message"`
		} `json:"meta"`
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&envelope); err != nil || envelope.Data == nil {
		return map[string]any{"raw": string(text), "status": status}
	}
	if status == http.StatusAccepted {
		return c.waiting(envelope.Data, envelope.Meta.Message)
	}
	c.said = envelope.Meta.Message
	return c.answer(envelope.Data)
}

// answer is the operation's data under the tool's names.
func (c *invocation) answer(data map[string]any) any {
	if c.tool.out != "" {
		if main, ok := data[c.tool.out].(map[string]any); ok {
			delete(data, c.tool.out)
			for name, v := range data {
				main[name] = v
			}
			data = main
		}
	}
	out, _ := c.tool.rename(data, c.tool.answer, toSnake).(map[string]any)
	c.tool.worded(out)
	if c.tool.finish != nil {
		c.tool.finish(c, out)
	}
	return out
}

// waiting tells that a person must agree first.
func (c *invocation) waiting(data map[string]any, message string) any {
	approval, _ := data["approval"].(map[string]any)
	out := map[string]any{}
	for name, v := range approval {
		out[snake(name)] = v
	}
	return map[string]any{"approval": out, "message": message}
}

// refused tells of a refusal with the words of the contract.
func (c *invocation) refused(status int, text []byte) {
	var body struct {
		Error map[string]any `json:"error"`
	}
	var detail any = strings.ToValidUTF8(string(text[:min(len(text), 2000)]), "?")
	if json.Unmarshal(text, &body) == nil && body.Error != nil {
		detail = ours(body.Error)
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		c.fail(errAuth, detail, status)
	case http.StatusTooManyRequests:
		c.fail(errRate, detail, status)
	default:
		c.fail(fmt.Sprintf("HTTP %d", status), detail, status)
	}
}

// ours gives what a refusal says of itself, and of arguments, the names they
// have here. Names deeper inside are somebody's own.
func ours(refusal map[string]any) map[string]any {
	details, _ := refusal["details"].(map[string]any)
	out := make(map[string]any, len(details))
	for name, v := range details {
		out[snake(name)] = v
	}
	fields, _ := out["fields"].([]any)
	for _, f := range fields {
		if row, ok := f.(map[string]any); ok {
			place, _ := row["field"].(string)
			if in, argument, found := strings.Cut(place, "."); found && (in == "body" || in == "query" || in == "path") {
				row["field"] = snake(argument)
			}
		}
	}
	if details != nil {
		refusal["details"] = out
	}
	return refusal
}

func (c *invocation) fail(word string, detail any, status int) {
	c.failure = &failure{Error: word, Detail: detail}
	if status != 0 {
		c.failure.Status = &status
	}
}
