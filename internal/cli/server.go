package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"headgate/client"
)

// serverCmd are the commands on servers.
type serverCmd struct {
	Add    serverAddCmd    `cmd:"" help:"Register an MCP server."`
	List   serverListCmd   `cmd:"" help:"List servers and their health."`
	Show   serverShowCmd   `cmd:"" help:"Show a server."`
	Test   serverTestCmd   `cmd:"" help:"Ask a server what it is and which tools it has."`
	Update serverUpdateCmd `cmd:"" help:"Change a server."`
	Remove serverRemoveCmd `cmd:"" aliases:"rm" help:"Remove a server."`
	Logs   serverLogsCmd   `cmd:"" help:"Show what a stdio server wrote to standard error."`
	Import serverImportCmd `cmd:"" help:"Register the servers of an mcpServers document."`

	Authorize   serverAuthorizeCmd   `cmd:"" help:"Sign in at a server (OAuth), so that your calls carry your token."`
	Deauthorize serverDeauthorizeCmd `cmd:"" help:"Forget your tokens for a server."`
}

// workspaceFlag picks where servers are looked for.
type workspaceFlag struct {
	Workspace string `placeholder:"SLUG" help:"Another workspace than the credential's own."`
}

// open returns a client and the server that a command is about.
func (w workspaceFlag) open(ctx context.Context, x *env, name string) (*client.Client, *client.ServerRow, error) {
	api, err := x.api()
	if err != nil {
		return nil, nil, err
	}
	s, err := w.server(ctx, api, name)
	return api, s, err
}

// server finds a server by slug, id or name.
func (w workspaceFlag) server(ctx context.Context, api *client.Client, name string) (*client.ServerRow, error) {
	list, _, err := api.ListServers(ctx, client.ListServersParams{WorkspaceID: w.Workspace})
	if err != nil {
		return nil, err
	}
	var slugs []string
	for i, s := range list.Servers {
		if name == s.Slug || name == s.ID {
			return &list.Servers[i], nil
		}
		slugs = append(slugs, s.Slug)
	}
	known := "there is none yet: headgate server add"
	if len(slugs) > 0 {
		known = "there are: " + strings.Join(slugs, ", ")
	}
	return nil, wrong(exitNotFound, "RESOURCE_NOT_FOUND", "there is no server %q here; %s", name, known)
}

// headers reads "Name: value" flags. It never repeats a value.
func headers(list []string) (map[string]*string, error) {
	if len(list) == 0 {
		return nil, nil
	}
	m := map[string]*string{}
	for i, h := range list {
		name, value, ok := strings.Cut(h, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if !ok || name == "" || value == "" {
			return nil, invalid("--header number %d must look like 'Authorization: Bearer …'", i+1)
		}
		m[name] = &value
	}
	return m, nil
}

func millis(d time.Duration) *int64 {
	if d == 0 {
		return nil
	}
	return new(d.Milliseconds())
}

type serverAddCmd struct {
	workspaceFlag
	Name        string        `arg:"" help:"Its slug: small letters, digits and -; tools are called NAME_TOOL where servers are merged."`
	ServerURL   string        `arg:"" optional:"" name:"server-url" help:"Where its MCP endpoint is."`
	Service     string        `placeholder:"ID" help:"A service on offer, instead of a URL."`
	Header      []string      `short:"H" sep:"none" placeholder:"'NAME: VALUE'" help:"Sent with every request; sealed, never shown again. Repeatable."`
	Title       string        `placeholder:"TEXT" help:"Its name for people."`
	Description string        `placeholder:"TEXT" help:"What it is for."`
	Transport   string        `enum:",http,sse" default:"" placeholder:"http|sse" help:"How it is spoken to; left out, Streamable HTTP."`
	Era         string        `enum:",auto,legacy,modern" default:"" placeholder:"auto|legacy|modern" help:"The revisions it speaks; left out, found out."`
	Timeout     time.Duration `placeholder:"TIME" help:"How long an answer may take, such as 30s."`
}

func (serverAddCmd) Help() string {
	return `The server is not asked anything yet: headgate server test does that.

    headgate server add weather https://mcp.example.com/mcp
    headgate server add crm https://crm.example.com/mcp -H 'Authorization: Bearer SECRET'
    headgate server add crm --service svc_01k…`
}

// Run registers a server.
func (c *serverAddCmd) Run(ctx context.Context, x *env) error {
	if (c.ServerURL == "") == (c.Service == "") {
		return invalid("give either the server's URL or --service.\nSee: headgate server add --help")
	}
	h, err := headers(c.Header)
	if err != nil {
		return err
	}
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.CreateServer(ctx, client.CreateServerBody{
		Slug: c.Name, URL: optional(c.ServerURL), ServiceID: optional(c.Service), WorkspaceID: optional(c.Workspace), Headers: h,
		Name: optional(c.Title), Description: optional(c.Description), Transport: optional(c.Transport), Era: optional(c.Era), TimeoutMs: millis(c.Timeout),
	})
	if err != nil {
		return err
	}
	return x.print(data, func() {
		x.say("Registered %s; its own endpoint is %s%s", data.Server.Slug, x.baseURL(), data.Server.MCPPath)
		x.hint("Try it: headgate server test %s", data.Server.Slug)
	})
}

type serverListCmd struct{ workspaceFlag }

func (serverListCmd) Help() string { return "Example:\n\n    headgate server list" }

// Run lists servers.
func (c *serverListCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.ListServers(ctx, client.ListServersParams{WorkspaceID: c.Workspace})
	if err != nil {
		return err
	}
	return x.print(data, func() {
		rows := make([][]string, len(data.Servers))
		for i, s := range data.Servers {
			rows[i] = []string{s.Slug, s.Transport, healthOf(&s), x.where(&s), s.ID}
		}
		x.table([]string{"NAME", "TRANSPORT", "HEALTH", "URL", "ID"}, rows)
	})
}

func (x *env) where(s *client.ServerRow) string {
	if s.URL == "" {
		return "-"
	}
	return s.URL
}

// healthOf is a server's state in a word or a few.
func healthOf(s *client.ServerRow) string {
	switch {
	case !s.Enabled:
		return "disabled"
	case !s.IsConfigured:
		return "unconfigured"
	case s.Health == nil:
		return "not asked yet"
	case s.Health.Code != "":
		return s.Health.Status + " (" + s.Health.Code + ")"
	}
	return s.Health.Status
}

type serverShowCmd struct {
	workspaceFlag
	Name string `arg:"" help:"The server."`
}

func (serverShowCmd) Help() string { return "Example:\n\n    headgate server show demo" }

// Run shows a server.
func (c *serverShowCmd) Run(ctx context.Context, x *env) error {
	api, s, err := c.open(ctx, x, c.Name)
	if err != nil {
		return err
	}
	return x.print(client.ServerData{Server: *s}, func() {
		pairs := [][2]string{
			{"Name", s.Slug}, {"Title", s.Name}, {"Id", s.ID}, {"Service", s.ServiceID}, {"Transport", s.Transport}, {"URL", s.URL},
			{"Endpoint", x.baseURL() + s.MCPPath}, {"Headers", strings.Join(s.HeaderNames, ", ")}, {"Era", s.Era},
			{"Timeout", (time.Duration(s.TimeoutMs) * time.Millisecond).String()}, {"Health", healthOf(s)},
		}
		if h := s.Health; h != nil {
			pairs = append(pairs, [2]string{"Last asked", moment(h.CheckedAt)}, [2]string{"Latency", fmt.Sprintf("%d ms", h.LatencyMs)},
				[2]string{"Why", h.Message}, [2]string{"Next try", momentOr(h.NextTry, "")})
		}
		pairs = append(pairs, [2]string{"Your sign-in", signIn(ctx, api, s)}, [2]string{"Since", moment(s.CreatedAt)})
		x.pairs(append(pairs, programs(s.Programs)...)...)
	})
}

type serverTestCmd struct {
	workspaceFlag
	Name string `arg:"" help:"The server."`
}

func (serverTestCmd) Help() string {
	return `Asks the server anew and costs nothing. The exit code is 9 when it does not answer.

    headgate server test weather`
}

// Run tests a server.
func (c *serverTestCmd) Run(ctx context.Context, x *env) error {
	api, s, err := c.open(ctx, x, c.Name)
	if err != nil {
		return err
	}
	data, _, err := api.TestServer(ctx, s.ID)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		t := data.Test
		x.pairs([][2]string{{"Answered in", fmt.Sprintf("%d ms", t.LatencyMs)}, {"Speaks", t.Revision + " (" + t.Era + ")"},
			{"Server", string(t.ServerInfo)}, {"Tools", fmt.Sprintf("%d: %s", len(t.Tools), short(strings.Join(t.Tools, ", "), 200))}}...)
	})
}

type serverUpdateCmd struct {
	workspaceFlag
	Name         string        `arg:"" help:"The server."`
	ServerURL    string        `name:"server-url" placeholder:"URL" help:"Its new address."`
	Slug         string        `placeholder:"NAME" help:"Its new name."`
	Title        string        `placeholder:"TEXT" help:"Its name for people."`
	Description  string        `placeholder:"TEXT" help:"What it is for."`
	Header       []string      `short:"H" sep:"none" placeholder:"'NAME: VALUE'" help:"Set a header. Repeatable."`
	RemoveHeader []string      `placeholder:"NAME" help:"Remove a header. Repeatable."`
	Era          string        `enum:",auto,legacy,modern" default:"" placeholder:"auto|legacy|modern" help:"The revisions it speaks."`
	Timeout      time.Duration `placeholder:"TIME" help:"How long an answer may take."`
	Enable       bool          `xor:"enabled" help:"Let calls through again."`
	Disable      bool          `xor:"enabled" help:"Let no calls through."`
}

func (serverUpdateCmd) Help() string {
	return `What is not named stays.

    headgate server update crm -H 'Authorization: Bearer NEW'
    headgate server update crm --disable`
}

// Run changes a server.
func (c *serverUpdateCmd) Run(ctx context.Context, x *env) error {
	h, err := headers(c.Header)
	if err != nil {
		return err
	}
	for _, name := range c.RemoveHeader {
		if h == nil {
			h = map[string]*string{}
		}
		h[name] = nil
	}
	body := client.UpdateServerBody{URL: optional(c.ServerURL), Slug: optional(c.Slug), Name: optional(c.Title), Description: optional(c.Description),
		Headers: h, Era: optional(c.Era), TimeoutMs: millis(c.Timeout)}
	if c.Enable || c.Disable {
		body.Enabled = &c.Enable
	}
	api, s, err := c.open(ctx, x, c.Name)
	if err != nil {
		return err
	}
	data, _, err := api.UpdateServer(ctx, s.ID, body)
	if err != nil {
		return err
	}
	return x.print(data, func() {})
}

type serverRemoveCmd struct {
	workspaceFlag
	Names []string `arg:"" name:"name" help:"The servers."`
}

func (serverRemoveCmd) Help() string {
	return `Its secrets go with it; the log of its calls stays.

    headgate server remove weather`
}

// Run removes servers, all or none found.
func (c *serverRemoveCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	var ids []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(c.Names))) {
		s, err := c.server(ctx, api, name)
		if err != nil {
			return err
		}
		ids = append(ids, s.ID)
	}
	for _, id := range ids {
		if err := api.DeleteServer(ctx, id); err != nil {
			return err
		}
	}
	return nil
}
