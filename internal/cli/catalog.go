package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"headgate/client"
)

// catalogCmd are the operator's commands on programs of stdio servers.
type catalogCmd struct {
	List    catalogListCmd    `cmd:"" help:"List the entries."`
	Show    catalogShowCmd    `cmd:"" help:"Show an entry."`
	Add     catalogAddCmd     `cmd:"" help:"Write an entry, or take a shipped one, and try it out."`
	Try     catalogTryCmd     `cmd:"" help:"Start an entry's program once and ask it what it is."`
	Enable  catalogEnableCmd  `cmd:"" help:"Install an entry's package and offer it."`
	Disable catalogDisableCmd `cmd:"" help:"Take an entry off the offer, with every server made of it."`
	Remove  catalogRemoveCmd  `cmd:"" aliases:"rm" help:"Forget an entry that was added."`
}

// operator returns a client with the operator key: HEADGATE_KEY, else the one
// of a first start in this directory.
func (x *env) operator() (*client.Client, error) {
	base := x.baseURL()
	key := x.getenv("HEADGATE_KEY")
	if first := readFirstRun(); key == "" && first != nil && isHere(base, first.URL) {
		key = first.OperatorKey
	}
	if key == "" {
		return nil, wrong(exitSignIn, "NO_CREDENTIAL", "this needs the operator key of %s.\nSet HEADGATE_KEY to it (op_…).", base)
	}
	// npm may take minutes.
	return x.client(base, client.WithSource(fixed(key)), client.WithHTTPClient(&http.Client{Timeout: 7 * time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}))
}

type catalogListCmd struct{}

func (catalogListCmd) Help() string {
	return "Programs that may be offered as stdio servers: shipped ones, and those you added.\n\n    headgate catalog list"
}

// Run lists entries.
func (catalogListCmd) Run(ctx context.Context, x *env) error {
	api, err := x.operator()
	if err != nil {
		return err
	}
	data, _, err := api.AdminListCatalog(ctx)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		rows := make([][]string, len(data.Entries))
		for i, e := range data.Entries {
			rows[i] = []string{e.Name, e.Version, stateOf(&e), whatOf(&e), short(e.Description, 60)}
		}
		x.table([]string{"NAME", "VERSION", "STATE", "PROGRAM", "DESCRIPTION"}, rows)
	})
}

func stateOf(e *client.EntryRow) string {
	switch {
	case e.Outdated:
		return "outdated"
	case e.Enabled && !e.Installed:
		return "not installed"
	case e.Enabled:
		return "enabled"
	case e.Shipped:
		return "shipped"
	}
	return "added"
}

func whatOf(e *client.EntryRow) string {
	if e.Package != "" {
		return e.Package
	}
	return e.Program
}

type catalogShowCmd struct {
	Name string `arg:"" help:"The entry."`
}

func (catalogShowCmd) Help() string { return "Example:\n\n    headgate catalog show filesystem" }

// Run shows an entry.
func (c *catalogShowCmd) Run(ctx context.Context, x *env) error {
	api, err := x.operator()
	if err != nil {
		return err
	}
	data, _, err := api.AdminGetEntry(ctx, c.Name)
	if err != nil {
		return err
	}
	return x.print(data, func() { x.entry(&data.Entry) })
}

func (x *env) entry(e *client.EntryRow) {
	network := strings.Join(e.Network, ", ")
	if network == "" {
		network = "none"
	}
	var parameters []string
	var schema struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	_ = json.Unmarshal(e.ConfigSchema, &schema) // none: no parameters
	for name := range schema.Properties {
		parameters = append(parameters, name)
	}
	x.pairs([][2]string{
		{"Name", e.Name}, {"Title", e.Title}, {"State", stateOf(e)}, {"Package", e.Package}, {"Version", e.Version}, {"Integrity", e.Integrity}, {"Program", e.Program},
		{"Arguments", strings.Join(e.Arguments, " ")}, {"Variables", strings.Join(e.Variables, ", ")}, {"Parameters", strings.Join(sorted(parameters), ", ")},
		{"Network", network}, {"Service", e.ServiceID}, {"Description", e.Description},
	}...)
}

type catalogAddCmd struct {
	Name       string   `arg:"" optional:"" help:"A shipped entry; with a source, the new entry's name."`
	NPM        string   `placeholder:"PACKAGE@1.2.3" help:"An npm package in an exact version."`
	Bin        string   `placeholder:"NAME" help:"Which of the package's programs, where it has several."`
	ServerJSON string   `name:"server-json" type:"existingfile" placeholder:"FILE" help:"A server.json of the MCP registry."`
	File       string   `type:"existingfile" placeholder:"FILE" help:"An entry file you wrote (YAML)."`
	Set        []string `sep:"none" placeholder:"NAME=VALUE" help:"A parameter's value for the try-out. Repeatable."`
	NoTry      bool     `help:"Do not start it."`
	Enable     bool     `help:"Offer it at once if the try-out goes well."`
}

func (catalogAddCmd) Help() string {
	return `Writes an entry and tries it out: its program is started once, behind the walls, and asked what it is. What a
package's metadata says about how to run it is not taken over. A shipped entry is there already: it is tried and enabled.

    headgate catalog add memory
    headgate catalog add --npm @acme/mcp-notes@1.2.3 --enable
    headgate catalog add --server-json server.json
    headgate catalog add --file notes.yaml --set root=files`
}

// Run adds an entry.
func (c *catalogAddCmd) Run(ctx context.Context, x *env) error {
	body := client.AddEntryBody{Npm: optional(c.NPM), Bin: optional(c.Bin)}
	from := 0
	for _, given := range []string{c.NPM, c.ServerJSON, c.File} {
		if given != "" {
			from++
		}
	}
	if from > 1 || from == 0 && c.Name == "" {
		return invalid("give one source: --npm, --server-json or --file, or the name of a shipped entry.\nSee: headgate catalog add --help")
	}
	api, err := x.operator()
	if err != nil {
		return err
	}
	if from == 0 {
		return c.offer(ctx, x, api, c.Name)
	}
	body.Name = optional(c.Name)
	if c.ServerJSON != "" {
		doc, err := readJSON(c.ServerJSON)
		if err != nil {
			return err
		}
		body.ServerJSON = doc
	}
	if c.File != "" {
		text, err := readFile(c.File)
		if err != nil {
			return err
		}
		body.Entry = optional(string(text))
	}
	data, _, err := api.AdminAddEntry(ctx, body)
	if err != nil {
		return err
	}
	for _, w := range data.Warnings {
		x.hint("Note: %s", w)
	}
	name := data.Entry.Name
	if !c.Enable {
		err := x.print(data, func() { x.say("Added %s. Offer it with: headgate catalog enable %s", name, name) })
		if err != nil || c.NoTry {
			return err
		}
		return tryOut(ctx, x, api, name, c.Set)
	}
	return c.offer(ctx, x, api, name)
}

// offer tries an entry out and enables it.
func (c *catalogAddCmd) offer(ctx context.Context, x *env, api *client.Client, name string) error {
	if !c.NoTry {
		if err := tryOut(ctx, x, api, name, c.Set); err != nil {
			return err
		}
	}
	return enable(ctx, x, api, name, nil)
}

func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err == nil && info.Size() > 1<<20 {
		return nil, invalid("%s is larger than 1 MiB", name)
	}
	var text []byte
	if err == nil {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, invalid("%s cannot be read: %s", name, err)
	}
	return text, nil
}

func readJSON(name string) (json.RawMessage, error) {
	text, err := readFile(name)
	if err == nil && json.Unmarshal(text, &map[string]any{}) != nil {
		err = invalid("%s is no JSON object", name)
	}
	return text, err
}

type catalogTryCmd struct {
	Name string   `arg:"" help:"The entry."`
	Set  []string `sep:"none" placeholder:"NAME=VALUE" help:"A parameter's value. Repeatable."`
}

func (catalogTryCmd) Help() string {
	return `Installs the package if need be, starts the program in a directory that is gone afterwards, and asks it what it is.
The exit code is 9 when it does not answer.

    headgate catalog try filesystem --set directory=notes`
}

// Run tries an entry out.
func (c *catalogTryCmd) Run(ctx context.Context, x *env) error {
	api, err := x.operator()
	if err != nil {
		return err
	}
	return tryOut(ctx, x, api, c.Name, c.Set)
}

// tryOut shows what came of a try-out, and fails when the program did.
func tryOut(ctx context.Context, x *env, api *client.Client, name string, set []string) error {
	config := map[string]any{}
	for _, s := range set {
		k, v, ok := strings.Cut(s, "=")
		if !ok {
			return invalid("--set takes NAME=VALUE")
		}
		config[k] = valueOf(v)
	}
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	data, _, err := api.AdminTryEntry(ctx, name, client.TryEntryBody{Config: text})
	if err != nil {
		return err
	}
	t := &data.Trial
	if err := x.print(data, func() { x.trial(name, t) }); err != nil {
		return err
	}
	if !t.Ok {
		return wrong(exitUnavailable, t.Code, "%s did not start: %s", name, t.Message)
	}
	return nil
}

// valueOf reads a flag's value: JSON where it is a number, truth or list.
func valueOf(text string) any {
	var v any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(&v) == nil && !d.More() {
		switch v.(type) {
		case json.Number, bool, []any:
			return v
		}
	}
	return text
}

func (x *env) trial(name string, t *client.TrialRow) {
	if !t.Ok {
		for _, l := range t.Logs[max(0, len(t.Logs)-20):] {
			x.say("  | %s", l.Text)
		}
		return
	}
	var server struct{ Name, Version string }
	_ = json.Unmarshal(t.ServerInfo, &server) // what is no such object is not shown
	x.pairs([][2]string{
		{"Tried", name}, {"Server", strings.TrimSpace(server.Name + " " + server.Version)}, {"Speaks", fmt.Sprintf("%s (%s)", t.Revision, t.Era)}, {"Tools", strings.Join(t.Tools, ", ")},
		{"Started in", fmt.Sprintf("%d ms, walls and exec %.1f ms", t.StartMs, t.SpawnMs)}, {"Walls", wallsIn(t.Level, t.Walls)},
	}...)
}

type catalogEnableCmd struct {
	Name  string `arg:"" help:"The entry."`
	Price *int64 `placeholder:"CREDITS" help:"What a call costs; left out, 1."`
}

func (catalogEnableCmd) Help() string {
	return `Installs the package (its own scripts are not run) and offers it to every organization. An entry that is enabled
already is brought up to date.

    headgate catalog enable memory --price 2`
}

// Run enables an entry.
func (c *catalogEnableCmd) Run(ctx context.Context, x *env) error {
	api, err := x.operator()
	if err != nil {
		return err
	}
	return enable(ctx, x, api, c.Name, c.Price)
}

func enable(ctx context.Context, x *env, api *client.Client, name string, price *int64) error {
	data, _, err := api.AdminEnableEntry(ctx, name, client.EnableEntryBody{Price: price})
	if err != nil {
		return err
	}
	return x.print(data, func() {
		x.say("%s is on offer as %s", name, data.Entry.ServiceID)
		x.hint("Make a server of it: headgate server add %s --service %s", name, data.Entry.ServiceID)
	})
}

type catalogDisableCmd struct {
	Name string `arg:"" help:"The entry."`
	Yes  bool   `help:"Remove every server made of it."`
}

func (catalogDisableCmd) Help() string {
	return "Removes every server made of the entry, in every organization.\n\n    headgate catalog disable memory --yes"
}

// Run disables an entry.
func (c *catalogDisableCmd) Run(ctx context.Context, x *env) error {
	if !c.Yes {
		return invalid("this removes every server made of %s, in every organization. Say so with --yes", c.Name)
	}
	api, err := x.operator()
	if err != nil {
		return err
	}
	return api.AdminDisableEntry(ctx, c.Name)
}

type catalogRemoveCmd struct {
	Name string `arg:"" help:"The entry."`
}

func (catalogRemoveCmd) Help() string { return "Example:\n\n    headgate catalog remove notes" }

// Run forgets an entry.
func (c *catalogRemoveCmd) Run(ctx context.Context, x *env) error {
	api, err := x.operator()
	if err != nil {
		return err
	}
	return api.AdminRemoveEntry(ctx, c.Name)
}

func count(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + one + "s"
}
