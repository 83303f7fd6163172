package cli

import (
	"context"

	"headgate/client"
)

// billingCmd are the commands on who pays for models.
type billingCmd struct {
	Show billingShowCmd `cmd:"" help:"Show who pays for models."`
	Set  billingSetCmd  `cmd:"" help:"Set who pays for models."`
}

type billingPlace struct {
	Workspace string `placeholder:"SLUG" help:"A workspace; left out, the organization's default."`
}

type billingShowCmd struct{ billingPlace }

func (billingShowCmd) Help() string {
	return "Example:\n\n    headgate billing show\n    headgate billing show --workspace research"
}

// Run shows the billing mode.
func (c *billingShowCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	var data *client.BillingData
	if c.Workspace == "" {
		data, _, err = api.GetOrganizationModelBilling(ctx)
	} else {
		data, _, err = api.GetModelBilling(ctx, c.Workspace)
	}
	if err != nil {
		return err
	}
	return x.showBilling(data)
}

func (x *env) showBilling(data *client.BillingData) error {
	return x.print(data, func() {
		said := func(mode *string) string {
			if mode == nil {
				return "-"
			}
			return *mode
		}
		x.pairs([][2]string{{"Mode", data.ResolvedMode}, {"Said by", data.Source}, {"Workspace", said(data.WorkspaceOverride)}, {"Organization", said(data.OrgDefault)}}...)
	})
}

type billingSetCmd struct {
	Mode string `arg:"" enum:"platform_managed,byok,disabled,none" help:"platform_managed, byok (your own vendor keys) or disabled; none takes what was set away."`
	billingPlace
}

func (billingSetCmd) Help() string {
	return `A workspace's own mode wins over its organization's. Vendors' keys are refused as secrets while the platform pays.

    headgate billing set byok
    headgate billing set disabled --workspace research
    headgate billing set none --workspace research`
}

// Run sets the billing mode.
func (c *billingSetCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	var body client.SetBillingBody
	if c.Mode != "none" {
		body.Mode = &c.Mode
	}
	var data *client.BillingData
	if c.Workspace == "" {
		data, _, err = api.SetOrganizationModelBilling(ctx, body)
	} else {
		data, _, err = api.SetModelBilling(ctx, c.Workspace, body)
	}
	if err != nil {
		return err
	}
	return x.showBilling(data)
}
