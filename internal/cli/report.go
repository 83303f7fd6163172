package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"headgate/client"
	"headgate/internal/fault"
)

// problem is an error of the command itself: what, why, what next.
type problem struct {
	exit    int
	code    string // for --json
	message string
	details map[string]any // what the server said for programs
}

func (p *problem) Error() string { return p.message }

func wrong(exit int, code, format string, args ...any) error {
	return &problem{exit: exit, code: code, message: fmt.Sprintf(format, args...)}
}

// invalid is a problem of the command line or of input.
func invalid(format string, args ...any) error {
	return wrong(exitUsage, "INVALID_USAGE", format, args...)
}

// usage says of a command line that cannot be parsed where its help is.
func usage(err error) error {
	where := "headgate"
	var p *kong.ParseError
	if errors.As(err, &p) && p.Context != nil {
		if node := p.Context.Selected(); node != nil {
			where = node.FullPath()
		}
	}
	if where == "headgate secret set" && strings.HasPrefix(err.Error(), "unexpected argument ") { // it may be the value
		return invalid("a value is no argument: others can read those. Type it when you are asked, or give it as the input.\nSee: %s --help", where)
	}
	return invalid("%s.\nSee: %s --help", err, where)
}

// report prints an error and returns its exit code.
func (x *env) report(err error) int {
	if err == nil {
		return 0
	}
	var v verdict
	if errors.As(err, &v) {
		return int(v)
	}
	p := x.problemOf(err)
	text := p.message
	if x.options.JSON {
		var b []byte
		say := map[string]any{"code": p.code, "message": p.message, "exit": p.exit}
		if len(p.details) > 0 {
			say["details"] = p.details
		}
		b, err = json.Marshal(map[string]any{"error": say})
		text = string(b)
		if err != nil {
			text = p.message
		}
	} else {
		text = "headgate: " + plain(text)
	}
	_, _ = fmt.Fprintln(x.err, text)
	return p.exit
}

func (x *env) problemOf(err error) *problem {
	var (
		own      *problem
		waiting  *client.Waiting
		answered *client.Error
		declared *fault.Error
		network  *url.Error
		dial     *net.OpError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &waiting) && errors.As(err, &answered):
		return &problem{exitOf(answered.Status, answered.Code), answered.Code, answered.Error() + held(waiting.Approval), answered.Details}
	case errors.As(err, &answered):
		return &problem{exitOf(answered.Status, answered.Code), answered.Code, answered.Error() + x.next(answered), answered.Details}
	case errors.As(err, &declared): // a command's own, so its cause may be told
		message := declared.Message
		if cause := errors.Unwrap(declared); cause != nil {
			message += "\nWhy: " + cause.Error()
		}
		return &problem{exit: exitOf(declared.Kind.Status(), ""), code: declared.Code, message: message}
	case errors.Is(err, context.Canceled):
		return &problem{exit: exitInterrupted, code: "INTERRUPTED", message: "interrupted"}
	case errors.As(err, &dial) && dial.Op == "dial":
		return &problem{exit: exitUnavailable, code: "UNREACHABLE", message: fmt.Sprintf(
			"nothing answers at %s.\nStart a server there (headgate serve), or name another with --url or HEADGATE_URL.", x.baseURL())}
	case errors.As(err, &network):
		return &problem{exit: exitUnavailable, code: "UNREACHABLE", message: fmt.Sprintf("the exchange with %s broke off: %s.\nTry again; look at the server's log if it stays.", x.baseURL(), network.Err)}
	}
	return &problem{exit: exitInternal, code: "INTERNAL", message: err.Error()}
}

// here marks an error of a command that is no client: what it could not reach
// is its own database or port, and its text says so.
func here(err error) error {
	var declared *fault.Error
	if err == nil || errors.As(err, &declared) || errors.Is(err, context.Canceled) {
		return err
	}
	return wrong(exitInternal, "INTERNAL", "%s", err)
}

// next is what to do about a failure where the server cannot know it.
func (x *env) next(e *client.Error) string {
	switch {
	case e.Code == "MCP_SERVICE_OAUTH_REQUIRED":
		return "\nSign in to it: headgate server authorize NAME" + scopeFlags(e.Details["scope"])
	case e.Status == 401 && x.getenv("HEADGATE_KEY") != "":
		return "\nHEADGATE_KEY is what was sent. Set it to a valid key, or unset it and sign in: headgate login"
	case e.Status == 401:
		return "\nSign in (headgate login), or set HEADGATE_KEY."
	case e.Status == 404 && e.Code == "":
		return "\nIs the URL right? It is the part before /v1: " + x.baseURL()
	case e.Status == 402 && e.Details["exceeded_periods"] != nil:
		return fmt.Sprintf("\nUsed up: %s. See headgate budget show, and headgate budget set.", strings.Join(texts(e.Details["exceeded_periods"]), ", "))
	case e.Status == 410:
		return "\nThose there are: headgate workspace list. What is left of it: headgate workspace show ID --removed"
	case e.Status == 412:
		return unmet(e)
	case e.RetryAfter > 0:
		return fmt.Sprintf("\nTry again in %s.", e.RetryAfter.Round(time.Second))
	}
	return ""
}

// held is what becomes of an operation that waits for a person.
func held(a client.ApprovalRow) string {
	return fmt.Sprintf("\nIt waits as %s until %s. A person decides: headgate approval approve %s (or deny). Then give this command again.", a.ID, a.ExpiresAt.UTC().Format("15:04 UTC"), a.ID)
}

// unmet is what an import lacks.
func unmet(e *client.Error) string {
	text := ""
	if names := texts(e.Details["missing_env"]); len(names) > 0 {
		text += "\n" + missing("the organization", names)
	}
	of, _ := e.Details["missing_workspace_env"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(of)) {
		text += "\n" + missing("the organization, for "+name, texts(of[name]))
	}
	if text == "" {
		return "\nWithout --apply this command makes a plan and says its id. Then: --apply --plan ID"
	}
	return text + "\nSet each: headgate secret set NAME. Then give this command again."
}

// scopeFlags are the flags for the scopes that a server asks for. A scope that
// would mean something to a shell is left out: people copy commands.
func scopeFlags(v any) (flags string) {
	scope, _ := v.(string)
	for _, s := range strings.Fields(scope) {
		if strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789:._/-") == "" && s[0] != '-' {
			flags += " --scope " + s
		}
	}
	return flags
}

// texts are the texts of a list that came as JSON.
func texts(v any) (list []string) {
	all, _ := v.([]any)
	for _, t := range all {
		if s, ok := t.(string); ok {
			list = append(list, s)
		}
	}
	return list
}
