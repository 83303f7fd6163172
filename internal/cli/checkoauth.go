package cli

import (
	"context"

	"headgate/client"
)

type checkOAuthCmd struct {
	workspaceFlag
	Target string `arg:"" help:"A server, or any URL."`
}

func (checkOAuthCmd) Help() string {
	return `Says whether a server or URL wants a sign-in (OAuth), and what calls are sent with.

    headgate check-oauth https://mcp.example.com/mcp

The exit code is 3 when a sign-in is still missing.`
}

// Run asks whether a sign-in is needed.
func (c *checkOAuthCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	var data *client.OauthData
	if isURL(c.Target) {
		data, _, err = api.CheckURLOAuth(ctx, client.CheckURLBody{URL: c.Target})
	} else {
		var s *client.ServerRow
		if s, err = c.server(ctx, api, c.Target); err != nil {
			return asInput(err)
		}
		data, _, err = api.CheckServerOAuth(ctx, s.ID)
	}
	if err != nil {
		return err
	}
	o := data.Oauth
	if err := x.print(data, func() {
		x.pairs([2]string{"OAuth", yes(o.UseOAuth)}, [2]string{"Sign-in missing", yes(o.RequiresAuthorization)}, [2]string{"Calls are sent with", o.EffectiveAuthMethod})
	}); err != nil {
		return err
	}
	if o.RequiresAuthorization {
		return verdict(exitSignIn)
	}
	return nil
}
