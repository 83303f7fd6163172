package cli

import (
	"context"
	"io"
	"time"

	"headgate/client"
	"headgate/internal/diagnosis/report"
)

type checkOAuthCmd struct {
	workspaceFlag
	format
	Target string `arg:"" help:"A server, or any URL."`
}

func (checkOAuthCmd) Help() string {
	return `Says whether a server or URL wants a sign-in (OAuth), and what calls are sent with.

    headgate check-oauth https://mcp.example.com/mcp

The exit code is 3 when a sign-in is still missing, 4 when nothing answers, so that it is not known, and 0 when none is missing.`
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
		if s, err = c.target(ctx, api, c.Target); err != nil {
			return err
		}
		data, _, err = api.CheckServerOAuth(ctx, s.ID)
	}
	if err != nil {
		return err
	}
	o := data.Oauth
	err = x.show(c.Format, data, func(io.Writer) error {
		if !o.Reachable {
			x.say("Nothing answers there, so it is not known whether a sign-in is wanted. See what is wrong: headgate doctor %s", c.Target)
			return nil
		}
		x.pairs([2]string{"OAuth", yes(o.UseOAuth)}, [2]string{"Sign-in missing", yes(o.RequiresAuthorization)}, [2]string{"Calls are sent with", o.EffectiveAuthMethod})
		if o.RequiresAuthorization && !isURL(c.Target) {
			x.hint("Sign in: headgate server authorize %s", c.Target)
		}
		return nil
	}, func(w io.Writer) error {
		sign := report.Case{Name: "sign-in", Status: report.OK, Detail: "No sign-in is missing.", Output: "Calls are sent with: " + o.EffectiveAuthMethod}
		switch {
		case !o.Reachable:
			sign.Status, sign.Detail = report.Error, "Nothing answers there, so it is not known whether a sign-in is wanted."
		case o.RequiresAuthorization:
			sign.Status, sign.Detail = report.Error, "A sign-in is missing."
		}
		return report.WriteJUnit(w, "check-oauth", c.Target, time.Now(), 0, []report.Case{sign})
	})
	if err != nil {
		return err
	}
	switch {
	case !o.Reachable:
		return verdict((&report.Report{Status: report.Failed}).ExitCode())
	case o.RequiresAuthorization:
		return verdict((&report.Report{Status: report.OAuthRequired}).ExitCode())
	}
	return nil
}
