package cli

import "context"

type mcpCmd struct {
	Management mcpManagementCmd `cmd:"" help:"Serve the tools that operate an organization."`
}

type mcpManagementCmd struct{}

func (mcpManagementCmd) Help() string {
	return `Speaks MCP on stdin and stdout and operates an organization of any Headgate: workspaces, secrets, budgets, templates,
keys, events. It is the command of an entry in a desktop client's or an agent's configuration. From the environment:

    HEADGATE_URL           the server (http://127.0.0.1:8080)
    HEADGATE_ORG_KEY       an organization key (ok_…); it is root of the organization
    HEADGATE_ORG_ID        the organization, checked before the first call
    HEADGATE_ORG_SLUG      its slug, if that is to be checked too
    HEADGATE_OPERATOR_KEY  an operator key (op_…), for list_orgs and get_org
    HEADGATE_MCP_MODE      management, or workspace: one workspace acting on itself with its own key (wk_…)

    headgate mcp management`
}

// Run serves until the input ends.
func (mcpManagementCmd) Run(ctx context.Context, x *env) error {
	return x.program.Manage(ctx, x.baseURL(), x.getenv, x.in, x.out)
}
