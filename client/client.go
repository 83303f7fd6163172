package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer bounds what is read into memory: more than the largest answer of
// the API (a call's result, 16 MiB, encoded twice).
const maxAnswer = 64 << 20

// Client speaks to one server with one credential.
type Client struct {
	base   string
	http   *http.Client
	source func(context.Context) (string, error)
	agent  string
}

// Option sets up a Client.
type Option func(*Client)

// WithKey sends a key of any kind.
func WithKey(key string) Option { return WithToken(key) }

// WithToken sends a session's access token.
func WithToken(token string) Option {
	return WithSource(func(context.Context) (string, error) { return token, nil })
}

// WithSource asks for the key or token before each request, so that it can be
// refreshed. An empty one is not sent.
func WithSource(source func(context.Context) (string, error)) Option {
	return func(c *Client) { c.source = source }
}

// WithHTTPClient replaces the HTTP client. The default one follows no
// redirects and, like the server, sets no limit to how long a stream lasts.
func WithHTTPClient(h *http.Client) Option { return func(c *Client) { c.http = h } }

// WithUserAgent names the program to the server's logs.
func WithUserAgent(agent string) Option { return func(c *Client) { c.agent = agent } }

// New returns a client of the server at baseURL, the part before /v1.
func New(baseURL string, options ...Option) (*Client, error) {
	u, err := url.Parse(baseURL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("%q is no http or https URL", baseURL)
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the server's URL must be scheme, host and perhaps a path: credentials go into an option")
	}
	c := &Client{base: strings.TrimSuffix(u.String(), "/"), agent: "headgate-client"}
	for _, o := range options {
		o(c)
	}
	if c.http == nil {
		c.http = newHTTP()
	}
	return c, nil
}

func newHTTP() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 2 * time.Minute
	return &http.Client{
		Transport: transport,
		// A redirect would take the credential to another place than asked for.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// RequestOption refines one request.
type RequestOption func(*http.Request)

// Idempotent makes a POST safe to repeat: with the same key and body within 24
// hours the server returns the stored answer.
func Idempotent(key string) RequestOption { return Header("Idempotency-Key", key) }

// Header sets a header.
func Header(name, value string) RequestOption {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// call is one request as generated methods state it.
type call struct {
	method, path string
	public       bool // no credential is sent
	query        url.Values
	header       http.Header
	body         any    // JSON, or an io.Reader with its type
	bodyType     string // "" for JSON
	accept       string
	options      []RequestOption
}

// Send makes a request that no method covers: path is below the base URL
// ("/v1/users/me"), body is encoded as JSON unless nil, out is decoded from
// the whole answer unless nil. Failures are *Error.
func (c *Client) Send(ctx context.Context, method, path string, body, out any, options ...RequestOption) error {
	return c.json(ctx, call{method: method, path: path, body: body, options: options}, out)
}

// envelope is success on the Platform API.
type envelope[D, M any] struct {
	Data D `json:"data"`
	Meta M `json:"meta"`
}

func unwrap[D, M any](ctx context.Context, c *Client, r call) (*D, *M, error) {
	var e envelope[D, M]
	if err := c.json(ctx, r, &e); err != nil {
		return nil, nil, err
	}
	return &e.Data, &e.Meta, nil
}

//lint:ignore U1000 what generated methods of operations without an envelope use; there may be none
func bare[T any](ctx context.Context, c *Client, r call) (*T, error) {
	v := new(T)
	if err := c.json(ctx, r, v); err != nil {
		return nil, err
	}
	return v, nil
}

func (c *Client) json(ctx context.Context, r call, out any) error {
	r.accept = "application/json"
	resp, err := c.do(ctx, r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := readAll(resp.Body)
	if err != nil {
		return fmt.Errorf("read the answer of %s %s: %w", r.method, r.path, err)
	}
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("%s %s: the answer is not what this API promises (is this URL a Headgate of the same version?): %w", r.method, r.path, err)
	}
	return nil
}

func readAll(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("it is larger than %d MiB", maxAnswer>>20)
	}
	return body, err
}

// do sends the request and returns an answer of success, its body open.
func (c *Client) do(ctx context.Context, r call) (*http.Response, error) {
	req, err := c.request(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 || resp.StatusCode == http.StatusAccepted {
		defer func() { _ = resp.Body.Close() }()
		return nil, failure(resp)
	}
	return resp, nil
}

func (c *Client) request(ctx context.Context, r call) (*http.Request, error) {
	if strings.Contains(r.path, badPart) {
		return nil, fmt.Errorf("%s %s: an id must not be empty or dots alone", r.method, strings.ReplaceAll(r.path, badPart, "{}"))
	}
	target := c.base + r.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	body, isReader := r.body.(io.Reader)
	if r.body != nil && !isReader {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(r.body); err != nil {
			return nil, fmt.Errorf("%s %s: encode the body: %w", r.method, r.path, err)
		}
		body, r.bodyType = &b, "application/json"
	}
	req, err := http.NewRequestWithContext(ctx, r.method, target, body)
	if err != nil {
		return nil, err
	}
	for name, values := range r.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Accept", r.accept)
	if r.bodyType != "" {
		req.Header.Set("Content-Type", r.bodyType)
	}
	if c.source != nil && !r.public {
		credential, err := c.source(ctx)
		if err != nil {
			return nil, err
		}
		if credential != "" {
			req.Header.Set("Authorization", "Bearer "+credential)
		}
	}
	for _, o := range r.options {
		o(req)
	}
	return req, nil
}

// badPart marks a path parameter that would change the path: it is no valid
// percent-encoding, so no parameter contains it.
const badPart = "%!"

// part encodes a path parameter.
func part(v string) string {
	if strings.Trim(v, ".") == "" {
		return badPart
	}
	return url.PathEscape(v)
}
