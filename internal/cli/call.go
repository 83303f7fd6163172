package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"headgate/client"
)

type toolsCmd struct {
	workspaceFlag
	Server string `arg:"" optional:"" help:"One server; left out, all."`
}

func (toolsCmd) Help() string {
	return `With --json each tool's definition is as its server wrote it, input schema included.

    headgate tools
    headgate tools demo --json`
}

// Run lists tools.
func (c *toolsCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, meta, err := api.ListTools(ctx, client.ListToolsParams{WorkspaceID: c.Workspace, ServerID: c.Server})
	if err != nil {
		return err
	}
	for _, m := range meta.Missing {
		x.hint("%s is missing: %s", m.Server, m.Message)
	}
	return x.print(struct {
		*client.ToolList
		*client.ListMeta
	}{data, meta}, func() {
		rows := make([][]string, len(data.Tools))
		for i, t := range data.Tools {
			var d struct {
				Description string `json:"description"`
			}
			_ = json.Unmarshal(t.Definition, &d) // a tool without a description has none
			rows[i] = []string{t.Server, t.Name, strconv.FormatInt(t.Price, 10), short(d.Description, 72)}
		}
		x.table([]string{"SERVER", "TOOL", "PRICE", "DESCRIPTION"}, rows)
	})
}

type callCmd struct {
	workspaceFlag
	Server     string `arg:"" help:"The server (headgate server list)."`
	Tool       string `arg:"" help:"The tool, as its server calls it (headgate tools)."`
	Parameters string `arg:"" optional:"" default:"{}" help:"The arguments, a JSON object; - reads it from the input."`
	Key        string `name:"idempotency-key" placeholder:"TEXT" help:"Repeat with the same one and nothing is called or charged twice."`
}

func (callCmd) Help() string {
	return `Prints the tool's text, or its structured result as JSON. The call is charged and logged like any other. The exit
code is 10 when the tool says that it failed; its words are printed then too, on stderr.

    headgate call demo echo '{"text":"hello"}'
    echo '{"a":1,"b":2}' | headgate call demo add - --json`
}

// Run calls a tool.
func (c *callCmd) Run(ctx context.Context, x *env) error {
	parameters, err := x.object(c.Parameters)
	if err != nil {
		return err
	}
	api, s, err := c.open(ctx, x, c.Server)
	if err != nil {
		return err
	}
	var options []client.RequestOption
	if c.Key != "" {
		options = append(options, client.Idempotent(c.Key))
	}
	body := client.ExecuteToolBody{ServiceID: s.ServiceID, ToolName: c.Tool, Parameters: parameters, WorkspaceID: optional(c.Workspace)}
	data, meta, err := api.ExecuteTool(ctx, body, options...)
	var failed *client.Error
	if errors.As(err, &failed) && failed.Details["result"] != nil {
		return toolFailed(failed)
	}
	if err != nil {
		return err
	}
	return x.print(map[string]any{"result": data.Result, "executionTime": data.ExecutionTime, "requestId": meta.RequestID}, func() { x.showResult(data.Result) })
}

// toolFailed is the error for a tool that ran and said it failed.
func toolFailed(e *client.Error) error {
	text := e.Message
	if raw, err := json.Marshal(e.Details["result"]); err == nil {
		if said := textOf(raw); said != "" {
			text = said
		} else {
			text = string(raw)
		}
	}
	return wrong(exitToolError, e.Code, "the tool failed: %s\nThe call was made; see it with: headgate logs --limit 1", text)
}

// showResult prints text as text and everything else as JSON.
func (x *env) showResult(raw json.RawMessage) {
	if text := textOf(raw); text != "" {
		if terminal(x.out) {
			text = plain(text)
		}
		_, _ = fmt.Fprintln(x.out, text)
		return
	}
	pretty, err := json.MarshalIndent(raw, "", "  ")
	if err != nil {
		pretty = raw
	}
	_, _ = fmt.Fprintln(x.out, string(pretty))
}

// textOf returns the text of a result whose content is text alone, else "".
func textOf(raw json.RawMessage) (text string) {
	var r struct {
		Content []struct {
			Type string `json:"type"`
			Text string `json:"text"`
		} `json:"content"`
	}
	if json.Unmarshal(raw, &r) != nil {
		return ""
	}
	for i, item := range r.Content {
		if item.Type != "text" {
			return ""
		}
		if i > 0 {
			text += "\n"
		}
		text += item.Text
	}
	return text
}
