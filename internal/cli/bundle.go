package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"headgate/client"
)

// bundleCmd are the commands on bundles.
type bundleCmd struct {
	Export bundleExportCmd `cmd:"" help:"Write a workspace, and those below it, to a file."`
	Import bundleImportCmd `cmd:"" help:"Make the workspaces of a file."`
}

type bundleExportCmd struct {
	workspaceArg
	File string `arg:"" optional:"" help:"Where to; left out, stdout."`
}

func (bundleExportCmd) Help() string {
	return `A bundle is a signed JSON document. It has no secrets: what is secret becomes a reference, and is named in
required_env.

    headgate bundle export research research.json`
}

// Run exports a bundle.
func (c *bundleExportCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.ExportBundle(ctx, c.Workspace)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, data.Bundle, "", "  "); err != nil {
		return err
	}
	text.WriteByte('\n')
	if c.File == "" || c.File == "-" {
		_, err := x.out.Write(text.Bytes())
		return err
	}
	if err := os.WriteFile(c.File, text.Bytes(), 0o600); err != nil {
		return invalid("%s cannot be written: %s", c.File, reason(err))
	}
	return x.print(map[string]any{"file": c.File, "bytes": text.Len()}, func() { x.say("Wrote %s.", c.File) })
}

// reason is an error of a file without the path, which was said.
func reason(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// document reads a file, or the input for -, bounded.
func (x *env) document(file string, most int64) ([]byte, error) {
	if file == "-" {
		return x.input(most)
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, invalid("%s cannot be read: %s", file, reason(err))
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, invalid("%s cannot be read: %s", file, reason(err))
	}
	if int64(len(text)) > most {
		return nil, invalid("%s is larger than %d bytes", file, most)
	}
	return text, nil
}

// applying is how imports are planned and done.
type applying struct {
	Apply bool   `help:"Do it; without this it is only planned."`
	Plan  string `placeholder:"ID" help:"With --apply: do exactly what was planned under this id."`
}

func (a *applying) valid() error {
	if a.Plan != "" && !a.Apply {
		return invalid("--plan goes with --apply.\nWithout both, a plan is made.")
	}
	return nil
}

// planned says what a plan is good for.
func (x *env) planned(id string) {
	x.hint("Nothing was changed. Do exactly this within an hour: --apply --plan %s", id)
}

type bundleImportCmd struct {
	applying
	File   string `arg:"" help:"The bundle, or - for the input."`
	Parent string `placeholder:"SLUG" help:"The workspace to make them below."`
}

func (bundleImportCmd) Help() string {
	return `Shows what would be made, and the plan's id; --apply does it: all or nothing, with new ids. A name that is taken gets
(2). A bundle that was changed since it was exported is refused.

    headgate bundle import research.json
    headgate bundle import research.json --apply
    headgate bundle import research.json --apply --plan imp_01k…`
}

// maxBundle bounds a bundle, as the server does.
const maxBundle = 4 << 20

// Run imports a bundle, or plans that.
func (c *bundleImportCmd) Run(ctx context.Context, x *env) error {
	if err := c.valid(); err != nil {
		return err
	}
	text, err := x.document(c.File, maxBundle)
	if err != nil {
		return err
	}
	if text = bytes.TrimSpace(text); !json.Valid(text) || text[0] != '{' {
		return invalid("%s is no bundle.\nGive a file as headgate bundle export writes it.", c.File)
	}
	api, err := x.api()
	if err != nil {
		return err
	}
	body := client.ImportBundleBody{Bundle: text, ParentID: optional(c.Parent), PlanID: optional(c.Plan)}
	if !c.Apply {
		body.DryRun = new(true)
	}
	data, _, err := api.ImportBundle(ctx, body)
	if err != nil {
		return err
	}
	return x.print(data, func() {
		var rows [][]string
		var walk func(w client.ImportedWorkspace, above string)
		walk = func(w client.ImportedWorkspace, above string) {
			rows = append(rows, []string{above + w.Name, w.Status, w.WorkspaceID})
			for _, child := range w.Children {
				walk(child, above+w.Name+" / ")
			}
		}
		walk(client.ImportedWorkspace{Name: data.Name, Children: data.Children, Status: data.Status, WorkspaceID: data.WorkspaceID}, "")
		x.table([]string{"NAME", "STATUS", "ID"}, rows)
		if !data.Signed {
			x.hint("It is not signed by this server: look at what it brings before you use it.")
		}
		if len(data.MissingEnv) > 0 {
			x.hint("%s", missing("the organization", data.MissingEnv))
			x.hint("Set each: headgate secret set NAME. Then restart what failed: headgate workspace restart SLUG")
		}
		if !c.Apply {
			x.planned(data.ImportID)
		}
	})
}

// missing names secrets that are not set.
func missing(where string, names []string) string {
	return "Not set in " + where + ": " + strings.Join(names, ", ")
}
