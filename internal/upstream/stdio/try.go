package stdio

import (
	"context"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/sandbox"
)

// Trial is what came of trying a program out.
type Trial struct {
	Facts    Facts
	Tools    []string
	Took     time.Duration // from the start to the end of the handshake
	Spawn    time.Duration // the walls and the exec alone
	Report   sandbox.Report
	Logs     []sandbox.LogLine
	LastExit *sandbox.Exit // of a program that ended too early
}

// Facts are what a program says of itself, raw where they are JSON.
type Facts struct {
	Era          string
	Revision     string
	ServerInfo   []byte
	Capabilities []byte
	Instructions string
}

// Try starts a program that belongs to no server, asks what it is and which
// tools it has, and stops it. When it fails, the trial says how far it came.
func (h *Host) Try(ctx context.Context, spec sandbox.Spec, era catalog.Era) (*Trial, error) {
	ctx, cancel := context.WithTimeout(ctx, h.opts.StartTime)
	defer cancel()
	level, err := h.level(ctx)
	if err != nil {
		return nil, err
	}
	if era == "" {
		era = catalog.Auto
	}
	spec.Level = level
	p := newProgram(h, key{}, &catalog.Server{Slug: spec.Name, Era: era}, &catalog.Binding{})
	leave, err := h.queue(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	began := h.opts.Now()
	c, err := p.shake(ctx, spec)
	t := &Trial{Took: h.opts.Now().Sub(began)}
	if err == nil {
		t.Spawn, t.Report, t.Facts = c.proc.Took(), c.proc.Attest(), c.facts.Load().shown()
		t.Tools, err = c.tools(ctx)
		c.stop()
		<-c.gone
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	t.Logs, t.LastExit = p.lastLogs, p.lastExit
	return t, err
}

// tools asks for the first page of tools.
func (c *conn) tools(ctx context.Context) ([]string, error) {
	params := []byte(`{}`)
	if c.facts.Load().era == mcp.Modern {
		params = c.alone()
	}
	r, err := c.ask(ctx, mcp.MethodToolsList, params)
	if err != nil {
		return nil, err
	}
	names := []string{}
	if r.kind != mcp.Response {
		return names, nil // a server without tools is one all the same
	}
	tools, _ := mcp.Get(r.line, r.result, "tools")
	for v := range mcp.Elements(r.line, tools) {
		if n, ok := mcp.Get(r.line, v, "name"); ok {
			name, _ := mcp.String(r.line, n)
			names = append(names, name)
		}
	}
	return names, nil
}

func (f *facts) shown() Facts {
	root := mcp.Root(f.result)
	out := Facts{Era: f.era.String(), Revision: string(f.revision)}
	if v, ok := mcp.Get(f.result, root, "serverInfo"); ok {
		out.ServerInfo = v.Of(f.result)
	} else if v, ok := mcp.Find(f.result, root, "_meta", mcp.MetaServerInfo); ok {
		out.ServerInfo = v.Of(f.result)
	}
	if v, ok := mcp.Get(f.result, root, "capabilities"); ok {
		out.Capabilities = v.Of(f.result)
	}
	if v, ok := mcp.Get(f.result, root, "instructions"); ok {
		out.Instructions, _ = mcp.String(f.result, v)
	}
	return out
}
