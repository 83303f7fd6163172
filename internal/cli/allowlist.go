package cli

import (
	"context"

	"headgate/client"
)

// allowlistCmd are the commands on the services that workspaces may have.
type allowlistCmd struct {
	Show  allowlistShowCmd  `cmd:"" help:"Show which services workspaces may have."`
	Set   allowlistSetCmd   `cmd:"" help:"Replace which services workspaces may have."`
	Clear allowlistClearCmd `cmd:"" help:"Let workspaces have every service."`
}

type allowlistShowCmd struct{}

func (allowlistShowCmd) Help() string { return "Example:\n\n    headgate allowlist show" }

// Run shows the allowlist.
func (allowlistShowCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.GetAllowlist(ctx, "me")
	if err != nil {
		return err
	}
	return x.showAllowlist(data)
}

func (x *env) showAllowlist(data *client.AllowlistData) error {
	return x.print(data, func() {
		if data.AllowAll {
			x.say("Workspaces may have every service.")
			return
		}
		rows := make([][]string, len(data.Plugins))
		for i, p := range data.Plugins {
			rows[i] = []string{p.PluginName, p.EnabledBy, moment(p.EnabledAt), p.ServiceID}
		}
		x.table([]string{"SERVICE", "ENABLED BY", "SINCE", "ID"}, rows)
	})
}

type enabledBy struct {
	EnabledBy string `name:"by" required:"" placeholder:"WHO" help:"Who answers for it."`
}

type allowlistSetCmd struct {
	Services []string `arg:"" name:"service" help:"Services by slug or id (headgate service list)."`
	enabledBy
}

func (allowlistSetCmd) Help() string {
	return `The list is replaced whole, in one step. It holds when a server is added and at every call; while there is one, no
server of one's own can be added.

    headgate allowlist set github weather --by ada@example.com`
}

// Run replaces the allowlist.
func (c *allowlistSetCmd) Run(ctx context.Context, x *env) error {
	return x.setAllowlist(ctx, c.Services, c.EnabledBy)
}

type allowlistClearCmd struct{ enabledBy }

func (allowlistClearCmd) Help() string {
	return "Example:\n\n    headgate allowlist clear --by ada@example.com"
}

// Run empties the allowlist.
func (c *allowlistClearCmd) Run(ctx context.Context, x *env) error {
	return x.setAllowlist(ctx, []string{}, c.EnabledBy)
}

func (x *env) setAllowlist(ctx context.Context, services []string, by string) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.SetAllowlist(ctx, "me", client.SetAllowlistBody{Plugins: services, EnabledBy: by})
	if err != nil {
		return err
	}
	return x.showAllowlist(data)
}
