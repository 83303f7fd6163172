package cli

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"headgate/client"
	"headgate/internal/settings"
)

// Program is what the commands that are no clients need.
type Program struct {
	Version string
	Serve   func(ctx context.Context, s *settings.Settings) error
	// Migrate brings the schema up to date and returns the steps it took.
	Migrate func(ctx context.Context, s *settings.Settings) ([]string, error)
	// Manage serves the Management MCP on stdio, against the server at a URL.
	Manage func(ctx context.Context, url string, getenv func(string) string, in io.Reader, out io.Writer) error
	// VerifyAudit walks the audit trails of a store and says what it found, as
	// a server that is asked would.
	VerifyAudit func(ctx context.Context, s *settings.Settings) (*client.VerdictData, error)
}

// commands is the command tree, in the order help shows it.
type commands struct {
	URL  string           `name:"url" placeholder:"URL" help:"The server ($HEADGATE_URL, else http://127.0.0.1:8080)."`
	JSON bool             `name:"json" help:"Print what the server says as JSON; errors too, on stderr."`
	Show kong.VersionFlag `name:"version" help:"Print the version."`

	Serve    serveCmd    `cmd:"" group:"Running Headgate" help:"Run Headgate."`
	Settings settingsCmd `cmd:"" group:"Running Headgate" help:"Print the settings in force."`
	Migrate  migrateCmd  `cmd:"" group:"Running Headgate" help:"Bring the database's schema up to date."`
	Version  versionCmd  `cmd:"" group:"Running Headgate" help:"Print the version."`

	Login    loginCmd    `cmd:"" group:"Session" help:"Sign in and keep the session."`
	Logout   logoutCmd   `cmd:"" group:"Session" help:"End the session."`
	Whoami   whoamiCmd   `cmd:"" group:"Session" help:"Show who you are."`
	Password passwordCmd `cmd:"" group:"Session" help:"Change your password."`

	Server  serverCmd  `cmd:"" group:"Tools" help:"MCP servers: add, list, show, test, update, remove, import, authorize."`
	Service serviceCmd `cmd:"" group:"Tools" help:"The catalog: list, show, configure, unconfigure, price."`
	Tools   toolsCmd   `cmd:"" group:"Tools" help:"List tools and what they cost."`
	Call    callCmd    `cmd:"" group:"Tools" help:"Call a tool."`
	MCP     mcpCmd     `cmd:"" name:"mcp" group:"Organization" help:"Be a stdio MCP server that operates an organization: management."`
	Connect connectCmd `cmd:"" group:"Tools" help:"Be a stdio MCP server that relays to the Gateway, for desktop clients."`

	Doctor     doctorCmd     `cmd:"" group:"Diagnosis" help:"Examine a server, or any URL, and say what to mend."`
	Validate   validateCmd   `cmd:"" group:"Diagnosis" help:"Connect to a server."`
	CheckOAuth checkOAuthCmd `cmd:"" name:"check-oauth" group:"Diagnosis" help:"Does a server, or any URL, want a sign-in?"`
	Export     exportCmd     `cmd:"" group:"Diagnosis" help:"Print everything a server offers as JSON."`
	Reports    reportsCmd    `cmd:"" group:"Diagnosis" help:"List kept reports."`
	Report     reportCmd     `cmd:"" group:"Diagnosis" help:"Show a kept report."`
	Diff       diffCmd       `cmd:"" group:"Diagnosis" help:"What changed between two reports."`
	Schedule   scheduleCmd   `cmd:"" group:"Diagnosis" help:"Examinations by themselves: list, show, set, remove."`

	Key keyCmd `cmd:"" group:"Organization" help:"Keys: list, create, rotate, revoke."`
	Org orgCmd `cmd:"" group:"Organization" help:"Organizations: show, list, switch, members, invite, invitations, accept."`

	Workspace workspaceCmd `cmd:"" group:"Organization" help:"Workspaces: list, show, add, update, tiers, pause, resume, restart, remove."`
	Secret    secretCmd    `cmd:"" group:"Organization" help:"Secrets of servers: list, set, remove."`
	Budget    budgetCmd    `cmd:"" group:"Organization" help:"What workspaces may spend: show, set."`
	Allowlist allowlistCmd `cmd:"" group:"Organization" help:"Which services workspaces may have: show, set, clear."`
	Billing   billingCmd   `cmd:"" group:"Organization" help:"Who pays for models: show, set."`
	Approval  approvalCmd  `cmd:"" group:"Organization" help:"What waits for a person: list, show, approve, deny, policy."`
	Template  templateCmd  `cmd:"" group:"Organization" help:"Templates: list, show, apply."`
	Bundle    bundleCmd    `cmd:"" group:"Organization" help:"Workspaces as files: export, import."`

	Logs      logsCmd      `cmd:"" group:"Accounts" help:"Show the log of calls, or follow it."`
	Credits   creditsCmd   `cmd:"" group:"Accounts" help:"Show the balance, or the ledger."`
	Usage     usageCmd     `cmd:"" group:"Accounts" help:"Show calls and credits by service and day."`
	Audit     auditCmd     `cmd:"" group:"Accounts" help:"The audit trail: list, export, verify."`
	Reconcile reconcileCmd `cmd:"" group:"Accounts" help:"Compare ledger and log (operators)."`

	Catalog catalogCmd `cmd:"" group:"Running Headgate" help:"Programs of stdio servers (operators): list, show, add, try, enable, disable."`
	Sandbox sandboxCmd `cmd:"" group:"Running Headgate" help:"The walls around stdio servers (operators): check."`
}

// env is what a command runs in.
type env struct {
	program *Program
	options *commands
	in      io.Reader
	out     io.Writer
	err     io.Writer
	getenv  func(string) string
	then    func() error // what a command leaves to do once the command tree is gone
}

// exit ends Run from inside kong's hooks (--help, --version).
type exit int

// Run runs one command line, without the program's name, and returns the exit
// code. It returns early when ctx ends.
func (p *Program) Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) (code int) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case exit:
			code = int(v)
		default:
			panic(v)
		}
	}()
	x := &env{program: p, options: &commands{}, in: stdin, out: stdout, err: stderr, getenv: getenv}
	parser, err := x.parser()
	if err != nil {
		panic(fmt.Errorf("the command tree: %w", err)) // a bug, found by any test
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		// --json may stand behind the mistake.
		for _, a := range args {
			x.options.JSON = x.options.JSON || a == "--json"
		}
		return x.report(usage(err))
	}
	parsed.BindTo(ctx, (*context.Context)(nil))
	err = parsed.Run(x)
	if err == nil && x.then != nil {
		err = x.then()
	}
	return x.report(err)
}

func (x *env) parser() (*kong.Kong, error) {
	setUp(x.options)
	return kong.New(x.options,
		kong.Name("headgate"),
		kong.Description(description()),
		kong.Writers(x.out, x.err),
		kong.Exit(func(code int) { panic(exit(code)) }),
		kong.Vars{"version": "headgate " + x.program.Version},
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100, NoAppDescFormat: true}),
	)
}

func description() string {
	var b strings.Builder
	b.WriteString("The gate in front of your MCP servers: it lets the right callers in, meters, bills and logs every call.\n\n" +
		"Commands but serve, settings and migrate are clients. The credential is $HEADGATE_KEY, else the\n" +
		"session that headgate login keeps, else the API key in ./data/first-run.json.\n\n" +
		"Exit codes:")
	for _, c := range codes {
		fmt.Fprintf(&b, "\n  %3d  %s", c.code, c.means)
	}
	return b.String()
}

// baseURL is the server's URL without a slash at the end.
func (x *env) baseURL() string {
	url := x.options.URL
	if url == "" {
		url = x.getenv("HEADGATE_URL")
	}
	if url == "" {
		url = "http://127.0.0.1:8080"
	}
	return strings.TrimRight(url, "/")
}

// firstRunFile is where a server started here keeps its first credentials.
func firstRunFile() string { return filepath.Join("data", "first-run.json") }
