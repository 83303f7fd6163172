package managemcp

import (
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// prompt is a common job, told to a model.
type prompt struct {
	name, title, about string
	args               []promptArg
	text               string // {name} stands for an argument
}

type promptArg struct {
	name, about string
	required    bool
}

var prompts = []prompt{
	{"onboard_team", "Onboard a team", "Give a team its workspaces, secrets, budget and keys.", []promptArg{{"team", "what the team is called", true}, {"monthly_budget", "cents a month, if it is to be bounded", false}},
		`Onboard the team "{team}".
1. list_workspaces and list_templates: see what is there; do not make a second workspace for a team that has one.
2. provision_workspace with a fitting template, role and tier. Wait until get_workspace says online; if it says failed, read the reason and ask for the secrets it names. Never invent a secret's value.
3. If a monthly budget is given ({monthly_budget} cents), set_workspace_budget with the whole map.
4. get_org_plugin_allowlist: say which services the team can use.
5. mint_workspace_token once, and hand the key over with the warning that it is shown only now.
Finish with a table of what you made, and what still waits for a person.`},
	{"rotate_everything", "Rotate everything", "Replace keys and secrets after a leak, in an order that locks nobody out.", []promptArg{{"reason", "why, for the record", true}},
		`Rotate the organization's credentials. Reason: {reason}.
1. list_org_tokens, list_org_secrets, and list_workspace_secrets of each workspace: make a list of all there is.
2. For each organization key: mint_org_token first, hand it over, and only then revoke_org_token the old one. Never revoke the key you are using before its successor is confirmed.
3. For each secret: ask for the new value, then set_org_secret or set_workspace_secret. The servers that use it get new connections by themselves.
4. Watch list_org_events until each change is in the trail.
Some of this may wait for a person (an answer with an approval): say so, and go on with the rest.`},
	{"review_spending", "Review spending", "Look at budgets and usage, and propose changes.", nil,
		`Review what the organization spends.
1. get_usage by day, list_workspaces, and get_workspace_budget of each workspace that spends.
2. Name the workspaces above 80 % of a limit, and those that spend without one.
3. Propose budgets as a table of old and new. Change nothing before somebody agrees.`},
}

func (p prompt) describe() *mcp.Prompt {
	d := &mcp.Prompt{Name: p.name, Title: p.title, Description: p.about}
	for _, a := range p.args {
		d.Arguments = append(d.Arguments, &mcp.PromptArgument{Name: a.name, Description: a.about, Required: a.required})
	}
	return d
}

func (p prompt) get(given map[string]string) (*mcp.GetPromptResult, error) {
	text := p.text
	for _, a := range p.args {
		v, ok := given[a.name]
		if a.required && strings.TrimSpace(v) == "" {
			return nil, wrongParams("The prompt " + p.name + " needs " + a.name + ".")
		}
		if !ok {
			v = "not given"
		}
		text = strings.ReplaceAll(text, "{"+a.name+"}", v)
	}
	return &mcp.GetPromptResult{Description: p.about, Messages: []*mcp.PromptMessage{{Role: "user", Content: &mcp.TextContent{Text: text}}}}, nil
}
