package managemcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/id"
	"headgate/internal/rest/platform"
)

// Config is where a stdio server finds its Headgate, and as whom.
type Config struct {
	URL         string // "http://127.0.0.1:8080" when empty
	OrgKey      string // ok_…, or wk_… in workspace mode
	OrgID       string // checked before the first call; "" trusts the key
	OrgSlug     string
	OperatorKey string
	Mode        string // "management" when empty, or "workspace"
	Version     string

	In   io.ReadCloser
	Out  io.WriteCloser
	HTTP *http.Client // nil: one with a timeout of two minutes
}

// Stdio serves the tools over In and Out, until the client or ctx ends. Nothing
// is called before a tool is: a Headgate that is away is told of by its results.
func Stdio(ctx context.Context, c Config) error {
	specs, name := management, serverName
	switch c.Mode {
	case "", "management":
	case "workspace":
		specs, name = ownWorkspace, workspaceName
	default:
		return fmt.Errorf("HEADGATE_MCP_MODE is management or workspace, not another word")
	}
	if c.URL == "" {
		c.URL = "http://127.0.0.1:8080"
	}
	base, err := url.Parse(strings.TrimRight(c.URL, "/"))
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.User != nil {
		return errors.New("HEADGATE_URL is no http:// or https:// URL")
	}
	if c.HTTP == nil {
		c.HTTP = &http.Client{Timeout: 2 * time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	r := &remote{Config: c, base: base.String()}
	find := func(*mcp.RequestExtra) (session, bool) {
		return session{Identity{c.OrgKey, c.OperatorKey}, r.call, r.base}, true
	}
	// The document alone is needed; registering operations needs no services.
	door := platform.New(platform.Options{Version: c.Version, Idempotency: noStore{}})
	g, err := newRegistry(door, specs, name, c.Version, find)
	if err != nil {
		return err
	}
	if c.Mode != "workspace" {
		g.extras(find)
	}
	err = g.server.Run(ctx, &mcp.IOTransport{Reader: c.In, Writer: c.Out})
	if errors.Is(err, io.EOF) || ctx.Err() != nil {
		return nil
	}
	return err
}

// remote calls a Headgate elsewhere.
type remote struct {
	Config
	base    string
	mu      sync.Mutex
	checked bool
}

// call sends a request, once it is known that the key is the organization's
// that was named.
func (r *remote) call(ctx context.Context, req *http.Request) (*http.Response, error) {
	operator := r.OperatorKey != "" && req.Header.Get("Authorization") == "Bearer "+r.OperatorKey
	if !operator && (r.OrgID != "" || r.OrgSlug != "") && r.Mode != "workspace" {
		wrong, err := r.check(ctx)
		if wrong != nil || err != nil {
			return wrong, err
		}
	}
	if r.OrgID != "" && !operator {
		req.Header.Set(headerOrg, r.OrgID)
	}
	return r.HTTP.Do(req)
}

// check asks once whose the key is. Another organization than the one named is
// answered like one that does not exist.
func (r *remote) check(ctx context.Context) (*http.Response, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.checked {
		return nil, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.base+"/v1/organizations/me", nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+r.OrgKey)
	resp, err := r.HTTP.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	defer resp.Body.Close()
	var found struct {
		Data struct {
			Organization struct{ ID, Slug string }
		}
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&found); err != nil {
		return nil, err
	}
	o := found.Data.Organization
	named, ok := id.Parse("org", r.OrgID)
	if r.OrgID != "" && (!ok || named != o.ID) || r.OrgSlug != "" && r.OrgSlug != o.Slug {
		return &http.Response{StatusCode: http.StatusNotFound, Body: io.NopCloser(strings.NewReader(`{"error":{"message":"The key is of another organization than HEADGATE_ORG_ID or HEADGATE_ORG_SLUG names."}}`))}, nil
	}
	r.checked = true
	return nil, nil
}

// noStore stands for the store of idempotent answers, which a door must have
// to document them.
type noStore struct{}

func (noStore) Begin(context.Context, string, string, [32]byte) ([]byte, error) { return nil, nil }
func (noStore) Finish(context.Context, string, string, []byte) error            { return nil }
func (noStore) Abandon(context.Context, string, string) error                   { return nil }
