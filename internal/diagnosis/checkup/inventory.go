package checkup

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"headgate/internal/diagnosis/report"
	"headgate/internal/mcp"
)

// The bounds of what a run reads of one server.
const (
	maxPages = 100
	MaxItems = 2000 // of one list
	MaxLists = 2 << 20
)

// list is one of the four.
type list struct {
	member, method, capability, noun string
	into                             *[]json.RawMessage
	check                            *report.Check
}

func listsOf(r *report.Report) []list {
	return []list{
		{"tools", mcp.MethodToolsList, "tools", "tools", &r.Tools, &r.Checks.Tools},
		{"resources", mcp.MethodResourcesList, "resources", "resources", &r.Resources, &r.Checks.Resources},
		{"resourceTemplates", mcp.MethodResourceTemplatesList, "resources", "resource templates", &r.ResourceTemplates, &r.Checks.ResourceTemplates},
		{"prompts", mcp.MethodPromptsList, "prompts", "prompts", &r.Prompts, &r.Checks.Prompts},
	}
}

// inventory reads the four lists. One that fails does not keep the others.
func (d *doctor) inventory(ctx context.Context) {
	r := d.report
	budget := MaxLists
	for _, l := range listsOf(r) {
		if !has(r, l.capability) {
			*l.check = report.Check{Status: report.Skipped, Detail: "The server does not declare " + l.capability + "."}
			continue
		}
		a, err := d.read(ctx, l, &budget)
		switch {
		case err == nil && (a == nil || a.reply && a.rpcCode() == 0):
			*l.check = report.Check{Status: report.OK, Detail: found(len(*l.into), l.noun)}
		case l.member == "resourceTemplates" && err == nil && a.rpcCode() == mcp.CodeMethodNotFound:
			// Resources without templates are no mistake: there is no capability of their own.
			*l.check = report.Check{Status: report.Skipped, Detail: "The server has no resource templates."}
		default:
			check, problem := failList(l.noun, a, err)
			*l.check = check
			r.Fail(problem)
			brokenList(r, l, problem)
		}
	}
	collectMetadata(r)
}

// found words a count; noun is a plural.
func found(n int, noun string) string {
	if n == 1 {
		noun = strings.TrimSuffix(noun, "s")
	}
	return fmt.Sprintf("%d %s found.", n, noun)
}

// read takes a list in, page by page. It returns the answer that ended it
// badly, if one did.
func (d *doctor) read(ctx context.Context, l list, budget *int) (*answer, error) {
	seen := map[string]bool{}
	cursor, scope := "", ""
	for page := range maxPages {
		var members []byte
		if cursor != "" {
			members = mcp.AppendString([]byte(`"cursor":`), cursor)
		}
		a, err := d.line.call(ctx, l.method, "", members)
		if err != nil {
			return a, err
		}
		if page == 0 {
			d.line.step(l.method, a)
		}
		result, ok := a.result()
		if !ok {
			return a, nil
		}
		items, ok := mcp.Get(a.body, result, l.member)
		if !ok || a.body[items.Start] != '[' {
			a.reply, a.wrong = false, "The result holds no list of "+l.noun+"."
			return a, nil
		}
		for v := range mcp.Elements(a.body, items) {
			if *budget -= v.Len(); *budget < 0 || len(*l.into) >= MaxItems {
				d.tooLong(l)
				return nil, nil
			}
			*l.into = append(*l.into, Compact(v.Of(a.body)))
		}
		d.cacheHints(l.method, a, &scope)
		v, more := mcp.Get(a.body, result, "nextCursor")
		if !more || mcp.IsNull(a.body, v) {
			return nil, nil
		}
		if cursor, err = mcp.String(a.body, v); err != nil || cursor == "" || seen[cursor] {
			a.reply, a.wrong = false, "The list never ends: a cursor is no text or came twice."
			return a, nil
		}
		seen[cursor] = true
	}
	d.tooLong(l)
	return nil, nil
}

func (d *doctor) tooLong(l list) {
	d.report.Find(report.Finding{ID: "size.list-too-long", Check: "size", Severity: report.SevError,
		What: fmt.Sprintf("A list is so long that it was not read to its end (%d entries, %d MiB in all).", MaxItems, MaxLists>>20),
		Why:  "Clients load every tool into the model's context; a list of this length does not fit.", Fix: "Split the server, or offer tools by search."}, l.noun)
}

// metadata collects the _meta of the tools.
func collectMetadata(r *report.Report) {
	for _, t := range r.Tools {
		root := mcp.Root(t)
		name, ok := mcp.Get(t, root, "name")
		meta, has := mcp.Get(t, root, "_meta")
		if text, err := mcp.String(t, name); ok && has && err == nil && t[meta.Start] == '{' {
			r.ToolsMetadata[text] = json.RawMessage(meta.Of(t))
		}
	}
}
