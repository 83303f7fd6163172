package cli

import "context"

type exportCmd struct {
	workspaceFlag
	Server string `arg:"" help:"The server."`
}

func (exportCmd) Help() string {
	return `Prints everything a server offers (tools, prompts, resources) as one JSON document.

    headgate export weather > weather.json`
}

// Run prints what a server offers.
func (c *exportCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	s, err := c.server(ctx, api, c.Server)
	if err != nil {
		return err
	}
	data, _, err := api.ExportServer(ctx, s.ID)
	if err != nil {
		return err
	}
	x.options.JSON = true // there is no other form of it
	return x.print(data.Snapshot, nil)
}
