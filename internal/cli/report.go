package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
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
}

func (p *problem) Error() string { return p.message }

func wrong(exit int, code, format string, args ...any) error {
	return &problem{exit, code, fmt.Sprintf(format, args...)}
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
		b, err = json.Marshal(map[string]any{"error": map[string]any{"code": p.code, "message": p.message, "exit": p.exit}})
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
		answered *client.Error
		declared *fault.Error
		network  *url.Error
		dial     *net.OpError
	)
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &answered):
		return &problem{exitOf(answered.Status, answered.Code), answered.Code, answered.Error() + x.next(answered)}
	case errors.As(err, &declared): // a command's own, so its cause may be told
		message := declared.Message
		if cause := errors.Unwrap(declared); cause != nil {
			message += "\nWhy: " + cause.Error()
		}
		return &problem{exitOf(declared.Kind.Status(), ""), declared.Code, message}
	case errors.Is(err, context.Canceled):
		return &problem{exitInterrupted, "INTERRUPTED", "interrupted"}
	case errors.As(err, &dial) && dial.Op == "dial":
		return &problem{exitUnavailable, "UNREACHABLE", fmt.Sprintf(
			"nothing answers at %s.\nStart a server there (headgate serve), or name another with --url or HEADGATE_URL.", x.baseURL())}
	case errors.As(err, &network):
		return &problem{exitUnavailable, "UNREACHABLE", fmt.Sprintf("the exchange with %s broke off: %s.\nTry again; look at the server's log if it stays.", x.baseURL(), network.Err)}
	}
	return &problem{exitInternal, "INTERNAL", err.Error()}
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
	case e.Status == 401 && x.getenv("HEADGATE_KEY") != "":
		return "\nHEADGATE_KEY is what was sent. Set it to a valid key, or unset it and sign in: headgate login"
	case e.Status == 401:
		return "\nSign in (headgate login), or set HEADGATE_KEY."
	case e.Status == 404 && e.Code == "":
		return "\nIs the URL right? It is the part before /v1: " + x.baseURL()
	case e.RetryAfter > 0:
		return fmt.Sprintf("\nTry again in %s.", e.RetryAfter.Round(time.Second))
	}
	return ""
}
