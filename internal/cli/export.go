package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"headgate/client"
	"headgate/internal/diagnosis/report"
)

type exportCmd struct {
	workspaceFlag
	Format string `enum:"text,json,junit" default:"json" placeholder:"FORMAT" help:"json, text (names alone) or junit (for CI)."`
	Server string `arg:"" help:"The server."`
}

func (exportCmd) Help() string {
	return `Prints everything a server offers (tools, prompts, resources) as one JSON document. Two of them can be compared: headgate diff

    headgate export weather > weather.json

` + verdictCodes
}

// Run prints what a server offers.
func (c *exportCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	s, err := c.target(ctx, api, c.Server)
	if err != nil {
		return err
	}
	data, _, err := api.ExportServer(ctx, s.ID)
	if err != nil {
		return c.failed(x, err)
	}
	lists := offered(&data.Snapshot)
	return x.show(c.Format, data.Snapshot, func(io.Writer) error {
		for _, l := range lists {
			for _, name := range l.names {
				x.say("%s %s", l.noun, name)
			}
		}
		return nil
	}, func(w io.Writer) error {
		var cases []report.Case
		for _, l := range lists {
			output := ""
			for _, name := range l.names {
				output += name + "\n"
			}
			cases = append(cases, report.Case{Name: l.noun + "s", Status: report.OK, Detail: fmt.Sprint(len(l.names)), Output: output})
		}
		return report.WriteJUnit(w, "export", c.Server, time.Now(), 0, cases)
	})
}

// failed says why there is no export, with the exit code of a diagnosis: one list
// that cannot be had is a server that is partly broken.
func (c *exportCmd) failed(x *env, err error) error {
	var e *client.Error
	if !errors.As(err, &e) || !isUpstreams(e) {
		return err
	}
	status, text := report.Failed, e.Message
	if e.Code == codeSignIn {
		status = report.OAuthRequired
	} else if list, ok := e.Details["list"].(string); ok {
		status, text = report.Partial, fmt.Sprintf("The list of %s cannot be had. %s", list, e.Message)
	}
	code := (&report.Report{Status: status}).ExitCode()
	if c.Format == "junit" {
		if err := report.WriteJUnit(x.out, "export", c.Server, time.Now(), 0, []report.Case{{Name: "export", Status: report.Error, Detail: text}}); err != nil {
			return err
		}
		return verdict(code)
	}
	return &problem{exit: code, code: e.Code, message: text + "\nSee what is wrong: headgate doctor " + c.Server, details: e.Details}
}

type offer struct {
	noun  string
	names []string
}

func offered(s *client.Snapshot) []offer {
	tools, resources, prompts := offer{noun: "tool"}, offer{noun: "resource"}, offer{noun: "prompt"}
	for _, t := range s.Tools {
		tools.names = append(tools.names, t.Name)
	}
	for _, r := range s.Resources {
		resources.names = append(resources.names, r.URI)
	}
	for _, p := range s.Prompts {
		prompts.names = append(prompts.names, p.Name)
	}
	return []offer{tools, resources, prompts}
}
