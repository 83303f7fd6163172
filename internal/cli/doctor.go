package cli

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"headgate/client"
	"headgate/internal/diagnosis/report"
)

// verdictCodes is what help says of the exit codes of diagnoses.
const verdictCodes = "The exit code is 0 when all is well, 2 when the input is not valid, 3 when a sign-in is needed, 4 when the server cannot\nbe reached and 5 when a part of it is broken. What goes wrong at Headgate itself, such as a key that is not valid, has the codes\nof every command (headgate --help), a message on stderr and nothing on stdout."

// format is how a diagnosis is shown. --json is --format json.
type format struct {
	Format string `enum:"text,json,junit" default:"text" placeholder:"FORMAT" help:"text, json or junit (for CI)."`
}

type doctorCmd struct {
	workspaceFlag
	format
	Target    string   `arg:"" help:"A server, or any URL."`
	Header    []string `short:"H" sep:"none" placeholder:"'NAME: VALUE'" help:"Sent along to a URL. Repeatable."`
	Register  bool     `help:"Also try to register a client with the server's authorization server. It is taken back where that allows it; else the report names it."`
	Call      string   `placeholder:"TOOL" help:"Also call this tool of a URL, once. Without it no tool runs."`
	Arguments string   `placeholder:"JSON" help:"Its arguments, a JSON object."`
}

func (doctorCmd) Help() string {
	return `Looks at a server as a client would and says what is wrong, why, and how to mend it. The report is kept: headgate reports

    headgate doctor weather
    headgate doctor https://mcp.example.com/mcp --format junit > doctor.xml
    headgate doctor https://mcp.example.com/mcp --call add --arguments '{"a":1,"b":2}'

` + verdictCodes
}

// Run examines a server or URL.
func (c *doctorCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	path, body := "/v1/mcp/doctor", any(nil)
	if isURL(c.Target) {
		body, err = c.ofURL()
	} else {
		path, body, err = c.ofServer(ctx, api)
	}
	if err != nil {
		return err
	}
	r, err := askReport(ctx, api, http.MethodPost, path, body)
	if err != nil {
		return err
	}
	return x.showReport(r, c.Format)
}

// ofURL is what a diagnosis of a URL is asked with.
func (c *doctorCmd) ofURL() (any, error) {
	given, err := headers(c.Header)
	if err != nil {
		return nil, err
	}
	sent := map[string]string{}
	for name, value := range given {
		sent[name] = *value
	}
	body := client.DoctorURLBody{URL: c.Target, Headers: sent, Register: &c.Register}
	switch {
	case c.Call != "":
		body.Call = &client.DoctorCall{ToolName: c.Call}
		if c.Arguments != "" {
			body.Call.Parameters = json.RawMessage(c.Arguments)
		}
		var object map[string]json.RawMessage
		if c.Arguments != "" && json.Unmarshal(body.Call.Parameters, &object) != nil {
			return nil, invalid("--arguments is no JSON object, such as '{\"a\":1}'")
		}
	case c.Arguments != "":
		return nil, invalid("--arguments goes with --call TOOL")
	}
	return body, nil
}

// ofServer is where a diagnosis of a server is asked for, and with what.
func (c *doctorCmd) ofServer(ctx context.Context, api *client.Client) (string, any, error) {
	switch {
	case len(c.Header) > 0:
		return "", nil, invalid("--header goes with a URL; %s has headers of its own (headgate server update)", c.Target)
	case c.Call != "" || c.Arguments != "":
		return "", nil, invalid("--call goes with a URL; tools of %s are called, and charged, with headgate call", c.Target)
	}
	s, err := c.target(ctx, api, c.Target)
	if err != nil {
		return "", nil, err
	}
	return "/v1/mcp/servers/" + url.PathEscape(s.ID) + "/doctor", client.DoctorServerBody{Register: &c.Register}, nil
}

func isURL(text string) bool { return strings.Contains(text, "://") }

// target finds the server that a command is about, and takes what looks like a
// URL without its scheme for a mistake.
func (w workspaceFlag) target(ctx context.Context, api *client.Client, name string) (*client.ServerRow, error) {
	if strings.ContainsAny(name, "./:") {
		return nil, invalid("%q is no server's name. A URL begins with http:// or https://", name)
	}
	s, err := w.server(ctx, api, name)
	return s, asInput(err)
}

// asInput makes of a server that is not there what it is to a diagnosis: a
// mistake in the command line, since 5 is a server that is partly broken.
func asInput(err error) error {
	var p *problem
	if errors.As(err, &p) && p.exit == exitNotFound {
		p.exit = exitUsage
	}
	return err
}

// askReport is for answers with a report, which is taken in its own form, the
// one that can be rendered.
func askReport(ctx context.Context, api *client.Client, method, path string, body any) (*report.Report, error) {
	var answer struct {
		Data struct {
			Report *report.Report `json:"report"`
		} `json:"data"`
	}
	if err := api.Send(ctx, method, path, body, &answer); err != nil {
		return nil, err
	}
	if answer.Data.Report == nil {
		return nil, wrong(exitInternal, "INTERNAL", "the server answered without a report.\nIs it of the same version as this program?")
	}
	return answer.Data.Report, nil
}

// show renders a value in a format: as JSON, or by one of the two functions.
func (x *env) show(format string, v any, text, junit func(io.Writer) error) error {
	switch {
	case x.options.JSON || format == "json":
		x.options.JSON = true
		return x.print(v, nil)
	case format == "junit":
		return junit(x.out)
	}
	return text(x.out)
}

// showReport renders a report and ends with its verdict's exit code.
func (x *env) showReport(r *report.Report, format string) error {
	return x.showBy(r, format, r.WriteText)
}

// showBy is showReport with another text.
func (x *env) showBy(r *report.Report, format string, text func(io.Writer) error) error {
	err := x.show(format, r, text, r.WriteJUnit)
	if code := r.ExitCode(); err == nil && code != 0 {
		return verdict(code)
	}
	return err
}

// verdict is an exit code that what was printed explains.
type verdict int

func (v verdict) Error() string { return "the verdict is not good" }

type validateCmd struct {
	workspaceFlag
	format
	Server string `arg:"" help:"The server."`
}

func (validateCmd) Help() string {
	return `Connects to a server, ten seconds at most, and shows what it says of itself.

    headgate validate weather

` + verdictCodes
}

// Run connects to a server.
func (c *validateCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	s, err := c.target(ctx, api, c.Server)
	if err != nil {
		return err
	}
	r := report.New(report.Target{ServerID: s.ID, Slug: s.Slug, ServerName: s.Name, URL: s.URL, Transport: s.Transport}, time.Now())
	began := time.Now()
	data, _, err := api.ValidateServer(ctx, s.ID)
	r.DurationMs = time.Since(began).Milliseconds()
	var failed *client.Error
	switch {
	case errors.As(err, &failed) && isUpstreams(failed):
		refused(r, failed)
	case err != nil:
		return err
	default:
		text, err := json.Marshal(data.InitInfo)
		if err == nil {
			err = json.Unmarshal(text, &r.InitInfo)
		}
		if err != nil {
			return err
		}
		r.Connection = report.Connection{Status: report.Connected, Detail: "Connected and initialized."}
		r.Checks.Connection = report.Check{Status: report.OK, Detail: r.Connection.Detail}
		r.Checks.Initialization = report.Check{Status: report.OK, Detail: "It said what it is."}
	}
	return x.showBy(r, c.Format, r.WriteBrief)
}

// codeSignIn is the Platform API's word for a server that wants a sign-in.
const codeSignIn = "MCP_SERVICE_OAUTH_REQUIRED"

// isUpstreams tells failures of the server behind Headgate from others.
func isUpstreams(e *client.Error) bool { return e.Code == codeSignIn || e.Code == "MCP_SERVICE_ERROR" }

// refused notes that no connection was had.
func refused(r *report.Report, e *client.Error) {
	r.Fail(&report.Problem{Code: e.Code, Message: e.Message, Details: e.Details})
	r.Checks.Connection = report.Check{Status: report.Error, Detail: e.Message}
	r.Connection = report.Connection{Status: report.Error, Detail: e.Message}
	r.Status = report.Failed
	if e.Code == codeSignIn {
		r.Status = report.OAuthRequired
	}
}
