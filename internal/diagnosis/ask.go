package diagnosis

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/diagnosis/checkup"
	"headgate/internal/diagnosis/report"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/upstream"
	"headgate/internal/upstream/discovery"
)

// Validate connects to a server, within the patience of one exchange, and
// returns what it says of itself. What is wrong is an error. The tools it has are kept as a report; whether that works
// does not change the answer.
func (s *Service) Validate(ctx context.Context, by *access.Principal, server *catalog.Server) (*report.InitInfo, error) {
	if err := access.Require(by, access.Diagnose); err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, s.Patience)
	defer cancel()
	start := time.Now()
	facts, tools, err := s.Hub.Test(limited, server, by)
	if facts == nil {
		return nil, s.Failure(ctx, by, server, err)
	}
	info := checkup.InfoOf(facts)
	if err == nil {
		s.snapshot(ctx, by, server, info, tools, time.Since(start))
	}
	return info, nil
}

func (s *Service) snapshot(ctx context.Context, by *access.Principal, server *catalog.Server, info *report.InitInfo, tools *upstream.Listing, took time.Duration) {
	r := report.New(targetOf(server), s.Now())
	r.InitInfo, r.Capabilities = info, info.Capabilities
	r.Connection = report.Connection{Status: report.Connected, Detail: "Connected and initialized."}
	r.DurationMs = took.Milliseconds()
	size := 0
	for i := range tools.Items[:min(len(tools.Items), checkup.MaxItems)] {
		if size += len(tools.Items[i].Raw); size > checkup.MaxLists {
			return // too large to keep
		}
		r.Tools = append(r.Tools, checkup.Compact(tools.Items[i].Raw))
	}
	if err := s.store(context.WithoutCancel(ctx), by, r, kindValidate, false); err != nil {
		s.Log.Warn("the snapshot of a server's tools was not kept", "server", server.ID, "error", err)
	}
}

// List returns one of the server's lists as it is now, or as it was kept a moment
// ago for who goes on reading it; ErrFeature when the server has no such list.
func (s *Service) List(ctx context.Context, by *access.Principal, server *catalog.Server, kind upstream.ListKind, goesOn bool) (*upstream.Listing, error) {
	if err := access.Require(by, access.ServicesRead); err != nil {
		return nil, err
	}
	facts, err := s.Hub.Eras(ctx, server, by, mcp.Modern)
	if err != nil {
		return nil, s.Failure(ctx, by, server, err)
	}
	if !facts.Has(capabilityOf(kind)) {
		return nil, ErrFeature.Saying("The MCP server does not offer %s.", capabilityOf(kind)).With("capability", capabilityOf(kind))
	}
	ask := s.Hub.Fresh
	if goesOn {
		ask = s.Hub.List
	}
	l, err := ask(ctx, server, by, kind)
	if err != nil {
		return nil, s.Failure(ctx, by, server, err)
	}
	return l, nil
}

func capabilityOf(kind upstream.ListKind) string {
	if kind == upstream.Templates {
		return upstream.Resources.String()
	}
	return kind.String()
}

// Snapshot is a server's surface, for other tools to read.
type Snapshot struct {
	ServerID   string             `json:"serverId"`
	ExportedAt time.Time          `json:"exportedAt"`
	Tools      []ExportedTool     `json:"tools"`
	Resources  []ExportedResource `json:"resources"`
	Prompts    []ExportedPrompt   `json:"prompts"`
}

// ExportedTool is a tool in a Snapshot.
type ExportedTool struct {
	Name         string          `json:"name"`
	Description  string          `json:"description,omitempty"`
	InputSchema  json.RawMessage `json:"inputSchema,omitempty"`
	OutputSchema json.RawMessage `json:"outputSchema,omitempty"`
}

// ExportedResource is a resource in a Snapshot.
type ExportedResource struct {
	URI         string `json:"uri"`
	Name        string `json:"name,omitempty"`
	Description string `json:"description,omitempty"`
	MimeType    string `json:"mimeType,omitempty"`
}

// ExportedPrompt is a prompt in a Snapshot.
type ExportedPrompt struct {
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Arguments   json.RawMessage `json:"arguments,omitempty"`
}

// Export returns the server's surface. What the server does not have is empty.
// An error with the detail list means that this list alone could not be had.
func (s *Service) Export(ctx context.Context, by *access.Principal, server *catalog.Server) (*Snapshot, error) {
	if err := access.Require(by, access.Diagnose); err != nil {
		return nil, err
	}
	if _, err := s.Hub.Eras(ctx, server, by, mcp.Modern); err != nil {
		return nil, s.Failure(ctx, by, server, err)
	}
	out := &Snapshot{ServerID: server.ID, ExportedAt: s.Now().UTC().Truncate(time.Millisecond), Tools: []ExportedTool{}, Resources: []ExportedResource{}, Prompts: []ExportedPrompt{}}
	for _, kind := range []upstream.ListKind{upstream.Tools, upstream.Resources, upstream.Prompts} {
		l, err := s.Hub.Fresh(ctx, server, by, kind)
		if err != nil {
			return nil, fault.Of(s.Failure(ctx, by, server, err)).With("list", kind.String()) // the rest may be well
		}
		for i := range l.Items {
			out.add(kind, l.Items[i].Raw)
		}
	}
	return out, nil
}

// add takes an entry in; one with members of the wrong type keeps its name.
func (o *Snapshot) add(kind upstream.ListKind, raw []byte) {
	switch kind {
	case upstream.Tools:
		var t ExportedTool
		_ = json.Unmarshal(raw, &t)
		o.Tools = append(o.Tools, t)
	case upstream.Resources:
		var r ExportedResource
		_ = json.Unmarshal(raw, &r)
		o.Resources = append(o.Resources, r)
	case upstream.Prompts:
		var p ExportedPrompt
		_ = json.Unmarshal(raw, &p)
		o.Prompts = append(o.Prompts, p)
	}
}

// OAuth says how a server wants to be signed in to, as far as can be told
// without speaking MCP to it.
type OAuth struct {
	UseOAuth bool
	// URL is the server's; "" where it has none.
	URL string
	// Requires is true when a sign-in is still missing.
	Requires bool
	// Method is what calls are sent with: oauth, headers, none.
	Method string
	// Silent is true when nothing answered at the URL, so that No means nothing.
	Silent bool
}

// CheckOAuth tells whether a server wants a grant, from what is known of it
// and from its metadata. No MCP connection is made, and failures mean no.
func (s *Service) CheckOAuth(ctx context.Context, by *access.Principal, server *catalog.Server) (*OAuth, error) {
	if err := access.Require(by, access.Diagnose); err != nil {
		return nil, err
	}
	o := &OAuth{Method: "none"}
	if server.Transport != catalog.HTTP && server.Transport != catalog.SSE {
		return o, nil
	}
	o.URL = report.PublicURL(server.URL)
	granted := s.Granted != nil && by.User != "" && s.Granted(ctx, by, server)
	b, err := s.Binder.Bind(ctx, server, by)
	if err == nil && len(b.Headers) > 0 {
		o.Method = "headers"
	}
	if granted {
		o.UseOAuth, o.Method = true, "oauth"
		return o, nil
	}
	wants := false
	if last, ok := s.Hub.Health(server); ok && last.Code == upstream.ErrAuth.Code {
		wants = true
	} else if r, err := s.last(ctx, by.Organization, server.ID); err == nil && r != nil && r.Probe != nil {
		wants = r.Probe.OAuth.Required
	}
	o.UseOAuth = wants
	if !wants {
		o.UseOAuth, o.Silent = s.hasMetadata(ctx, server.URL)
	}
	o.Requires = o.UseOAuth && o.Method == "none"
	if o.Requires {
		o.Method = "oauth"
	}
	return o, nil
}

// CheckOAuthURL is CheckOAuth for any URL, by its metadata alone. Who may ask
// is the caller's business.
func (s *Service) CheckOAuthURL(ctx context.Context, raw string) (*OAuth, error) {
	u, err := s.address(raw)
	if err != nil {
		return nil, err
	}
	o := &OAuth{URL: report.PublicURL(u.String()), Method: "none"}
	if o.UseOAuth, o.Silent = s.hasMetadata(ctx, u.String()); o.UseOAuth {
		o.Requires, o.Method = true, "oauth"
	}
	return o, nil
}

// hasMetadata reports whether a server has resource metadata, and whether nothing
// answered at all.
func (s *Service) hasMetadata(ctx context.Context, url string) (has, silent bool) {
	ctx, cancel := context.WithTimeout(ctx, s.Patience/2)
	defer cancel()
	client := checkup.Client(s.Guard, s.Patience)
	defer client.CloseIdleConnections()
	f := discovery.Discover(ctx, client, url, discovery.Challenge{})
	silent = true
	for _, a := range f.Attempts {
		silent = silent && a.Status == 0
	}
	return f.Resource != nil, silent
}

// Failure words why a server could not be used: a sign-in that is wanted names
// the server, credentials that were sent and refused are forbidden, and a server
// that is left alone for a moment is the one that fails, not this program.
func (s *Service) Failure(ctx context.Context, by *access.Principal, server *catalog.Server, err error) error {
	var f *fault.Error
	switch {
	case errors.Is(err, upstream.ErrAuth):
		if b, berr := s.Binder.Bind(ctx, server, by); berr == nil && len(b.Headers) > 0 {
			return ErrRefused.Because(err)
		}
		return upstream.ErrAuth.Because(err).With("serverId", server.ID).With("serverName", server.Name).With("serverUrl", report.PublicURL(server.URL))
	case errors.Is(err, upstream.ErrRejected) && errors.As(err, &f) && f.Details["status"] == http.StatusForbidden:
		return ErrRefused.Because(err)
	case errors.Is(err, upstream.ErrOpen) && errors.As(err, &f):
		return ErrDown.Because(err).After(f.RetryAfter)
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && !errors.As(err, &f):
		return upstream.ErrTimeout.Because(err)
	}
	return err
}
