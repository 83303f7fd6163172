package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"

	"headgate/client"
)

type serverImportCmd struct {
	workspaceFlag
	File  string `arg:"" help:"The document, or - for the input."`
	Apply bool   `help:"Do it; without this it is only shown."`
}

func (serverImportCmd) Help() string {
	return `Reads the document that desktop clients and IDEs keep: {"mcpServers": {"name": {"url": …, "headers": {…}}}}. It
shows what would be done; --apply does it. Servers that exist stay as they are. Programs (command) are left out:
they are started only from the operator's catalog.

    headgate server import ~/.config/client/mcp.json
    headgate server import mcp.json --apply`
}

// maxDocument bounds an mcpServers document.
const maxDocument = 4 << 20

// plannedServer is an entry of the document and what becomes of it.
type plannedServer struct {
	Name   string `json:"name"`
	Slug   string `json:"slug"`
	URL    string `json:"url,omitempty"`
	Action string `json:"action"` // add, skip
	Why    string `json:"why,omitempty"`
	body   client.CreateServerBody
}

// Run imports servers, or shows what that would do.
func (c *serverImportCmd) Run(ctx context.Context, x *env) error {
	text, err := c.read(x)
	if err != nil {
		return err
	}
	plan, err := planServers(text)
	if err != nil {
		return err
	}
	api, err := x.api()
	if err != nil {
		return err
	}
	have, _, err := api.ListServers(ctx, client.ListServersParams{WorkspaceID: c.Workspace})
	if err != nil {
		return err
	}
	markTaken(plan, have.Servers)
	var failed error
	if c.Apply {
		failed = c.apply(ctx, api, plan)
	}
	err = x.print(map[string]any{"applied": c.Apply, "servers": plan}, func() {
		rows := make([][]string, len(plan))
		for i, p := range plan {
			rows[i] = []string{p.Slug, p.Action, p.URL, p.Why}
		}
		x.table([]string{"NAME", "ACTION", "URL", "WHY"}, rows)
		if !c.Apply {
			x.hint("Nothing was changed; --apply does it.")
		}
	})
	return errors.Join(failed, err)
}

func (c *serverImportCmd) read(x *env) ([]byte, error) {
	if c.File == "-" {
		return x.input(maxDocument)
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, invalid("%s cannot be read: %s", c.File, errors.Unwrap(err))
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, maxDocument+1))
	if err != nil || len(text) > maxDocument {
		return nil, invalid("%s cannot be read, or is larger than %d bytes", c.File, maxDocument)
	}
	return text, nil
}

// planServers reads the document. It knows the two spellings in use for the
// list (mcpServers, servers) and for the transport (type, transport).
func planServers(text []byte) ([]*plannedServer, error) {
	type entry struct {
		URL       string            `json:"url"`
		ServerURL string            `json:"serverUrl"`
		Type      string            `json:"type"`
		Transport string            `json:"transport"`
		Headers   map[string]string `json:"headers"`
		Command   string            `json:"command"`
		Disabled  bool              `json:"disabled"`
	}
	var doc struct {
		MCPServers map[string]entry `json:"mcpServers"`
		Servers    map[string]entry `json:"servers"`
	}
	if json.Unmarshal(bytes.TrimPrefix(text, []byte("\ufeff")), &doc) != nil {
		return nil, invalid(`the document is not JSON of the form {"mcpServers": {"name": {"url": …}}}`)
	}
	if doc.MCPServers == nil {
		doc.MCPServers = doc.Servers
	}
	if len(doc.MCPServers) == 0 {
		return nil, invalid(`the document has no "mcpServers"`)
	}
	var plan []*plannedServer
	for _, name := range slices.Sorted(maps.Keys(doc.MCPServers)) {
		e := doc.MCPServers[name]
		p := &plannedServer{Name: name, Slug: slugOf(name), URL: e.URL, Action: "add"}
		if p.URL == "" {
			p.URL = e.ServerURL
		}
		switch {
		case p.Slug == "":
			p.skip("its name has no letter or digit")
		case e.Disabled:
			p.skip("it is disabled there")
		case e.Command != "":
			p.skip("it is a program: an operator offers those in the catalog")
		case p.URL == "":
			p.skip("it has no url")
		case strings.Contains(p.URL, "${"), strings.Contains(fmt.Sprint(e.Headers), "${"):
			p.skip("it has a variable (${…}): put the value in")
		}
		p.body = client.CreateServerBody{Slug: p.Slug, URL: &p.URL, Name: &p.Name}
		if kind := e.Type + e.Transport; kind == "sse" {
			p.body.Transport = &kind
		}
		for h, v := range e.Headers {
			if p.body.Headers == nil {
				p.body.Headers = map[string]*string{}
			}
			p.body.Headers[h] = &v
		}
		plan = append(plan, p)
	}
	return plan, nil
}

func (p *plannedServer) skip(why string) { p.Action, p.Why = "skip", why }

var notSlug = regexp.MustCompile(`[^a-z0-9]+`)

// slugOf makes a name fit for a server: [a-z0-9][a-z0-9-]{0,31}.
func slugOf(name string) string {
	s := strings.Trim(notSlug.ReplaceAllString(strings.ToLower(name), "-"), "-")
	if len(s) > 32 {
		s = strings.TrimRight(s[:32], "-")
	}
	return s
}

// markTaken skips what exists, and all but the first of names that become the
// same.
func markTaken(plan []*plannedServer, have []client.ServerRow) {
	taken := map[string]string{}
	for _, s := range have {
		taken[s.Slug] = "it exists"
	}
	for _, p := range plan {
		if p.Action != "add" {
			continue
		}
		if why, ok := taken[p.Slug]; ok {
			p.skip(why)
			continue
		}
		taken[p.Slug] = "another one of the document has this name"
	}
}

// apply registers what is planned, each on its own, and says which failed.
func (c *serverImportCmd) apply(ctx context.Context, api *client.Client, plan []*plannedServer) error {
	var failed []error
	for _, p := range plan {
		if p.Action != "add" {
			continue
		}
		p.body.WorkspaceID = optional(c.Workspace)
		if _, _, err := api.CreateServer(ctx, p.body); err != nil {
			p.Action, p.Why = "failed", err.Error()
			failed = append(failed, err)
			continue
		}
		p.Action = "added"
	}
	if len(failed) == 0 {
		return nil
	}
	var first *client.Error
	if !errors.As(failed[0], &first) {
		return failed[0]
	}
	return wrong(exitOf(first.Status, first.Code), first.Code, "%d of the servers could not be registered; see WHY.\nThe first: %s", len(failed), first)
}
