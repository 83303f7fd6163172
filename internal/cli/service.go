package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"headgate/client"
)

// serviceCmd are the commands on the catalog.
type serviceCmd struct {
	List        serviceListCmd        `cmd:"" help:"List what is on offer."`
	Show        serviceShowCmd        `cmd:"" help:"Show a service, its configuration and prices."`
	Configure   serviceConfigureCmd   `cmd:"" help:"Configure a service for your organization or yourself."`
	Unconfigure serviceUnconfigureCmd `cmd:"" help:"Forget a service's configuration."`
	Price       servicePriceCmd       `cmd:"" help:"Change what a service costs."`
}

type serviceListCmd struct {
	paging
	Filter string `placeholder:"TEXT" help:"Part of a name or description."`
}

func (serviceListCmd) Help() string {
	return "Example:\n\n    headgate service list\n    headgate service list --filter weather"
}

// Run lists services.
func (c *serviceListCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, meta, err := api.ListServices(ctx, client.ListServicesParams{Page: c.Page, Limit: c.Limit, Filter: c.Filter})
	if err != nil {
		return err
	}
	return x.print(struct {
		*client.ServiceList
		*client.Paged
	}{data, meta}, func() {
		rows := make([][]string, len(data.Services))
		for i, s := range data.Services {
			rows[i] = []string{s.Name, yes(s.IsConfigured), strconv.FormatInt(s.Price, 10), short(s.Description, 60), s.ID}
		}
		x.table([]string{"NAME", "CONFIGURED", "PRICE", "DESCRIPTION", "ID"}, rows)
		x.more(meta.Pagination)
	})
}

type serviceShowCmd struct {
	ID string `arg:"" help:"The service."`
}

func (serviceShowCmd) Help() string { return "Example:\n\n    headgate service show svc_01k…" }

// Run shows a service with its prices.
func (c *serviceShowCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.GetService(ctx, c.ID)
	if err != nil {
		return err
	}
	prices, _, err := api.GetPrices(ctx, c.ID, client.GetPricesParams{})
	if err != nil {
		return err
	}
	return x.print(map[string]any{"service": data.Service, "prices": prices.Prices}, func() {
		s, p := data.Service, prices.Prices
		x.pairs([][2]string{
			{"Name", s.Name}, {"Id", s.ID}, {"Version", s.Version}, {"Description", s.Description}, {"Transport", s.Transport}, {"URL", s.URL},
			{"Capabilities", strings.Join(s.Capabilities, ", ")}, {"Configured", yes(s.IsConfigured)}, {"Configured by", s.ConfigScope},
			{"A tool call", strconv.FormatInt(p.Price, 10) + " credits"}, {"A read", strconv.FormatInt(p.ReadPrice, 10) + " credits"},
			{"Other prices", toolPrices(p.Tools)},
		}...)
		var schema bytes.Buffer
		if len(s.ConfigSchema) > 2 && json.Indent(&schema, s.ConfigSchema, "", "  ") == nil {
			x.say("\nWhat headgate service configure takes (JSON Schema):\n%s", schema.String())
		}
	})
}

func toolPrices(tools map[string]int64) string {
	var list []string
	for _, name := range slices.Sorted(maps.Keys(tools)) {
		list = append(list, name+" "+strconv.FormatInt(tools[name], 10))
	}
	return strings.Join(list, ", ")
}

type serviceConfigureCmd struct {
	ID     string `arg:"" help:"The service."`
	Config string `arg:"" help:"A JSON object that fits the service's schema, or - to read it from the input."`
}

func (serviceConfigureCmd) Help() string {
	return `Secrets that are left out keep their value. Give secrets through the input: arguments are visible to others on
this machine.

    headgate service configure svc_01k… '{"region":"eu"}'
    headgate service configure svc_01k… - < config.json`
}

// Run configures a service.
func (c *serviceConfigureCmd) Run(ctx context.Context, x *env) error {
	config, err := x.object(c.Config)
	if err != nil {
		return err
	}
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.ConfigureService(ctx, c.ID, client.ConfigureBody{Config: config})
	if err != nil {
		return err
	}
	return x.print(data, func() {})
}

// object reads an argument that is a JSON object, or - for the input.
func (x *env) object(text string) (json.RawMessage, error) {
	raw := []byte(text)
	if text == "-" {
		var err error
		if raw, err = x.input(4 << 20); err != nil {
			return nil, err
		}
	}
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 || raw[0] != '{' || !json.Valid(raw) {
		return nil, invalid(`that is no JSON object. It looks like '{"name": "value"}', in single quotes on a command line`)
	}
	return raw, nil
}

type serviceUnconfigureCmd struct {
	ID string `arg:"" help:"The service."`
}

func (serviceUnconfigureCmd) Help() string {
	return "Example:\n\n    headgate service unconfigure svc_01k…"
}

// Run forgets a configuration.
func (c *serviceUnconfigureCmd) Run(ctx context.Context, x *env) error {
	api, err := x.api()
	if err != nil {
		return err
	}
	return api.UnconfigureService(ctx, c.ID)
}

type servicePriceCmd struct {
	ID   string           `arg:"" help:"The service."`
	Call *int64           `placeholder:"CREDITS" help:"What a tool call costs."`
	Read *int64           `placeholder:"CREDITS" help:"What a resource or a prompt costs."`
	Tool map[string]int64 `mapsep:"," placeholder:"NAME=CREDITS" help:"What one tool costs. Repeatable."`
	Same []string         `placeholder:"NAME" help:"A tool that shall cost what the others cost. Repeatable."`
}

func (servicePriceCmd) Help() string {
	return `Prices are set by the seller. Calls under way keep the price they were begun with.

    headgate service price svc_01k… --call 2 --tool search=5`
}

// Run changes prices.
func (c *servicePriceCmd) Run(ctx context.Context, x *env) error {
	body := client.SetPricesBody{Price: c.Call, ReadPrice: c.Read}
	if len(c.Tool)+len(c.Same) > 0 {
		body.Tools = map[string]*int64{}
	}
	for name, price := range c.Tool {
		body.Tools[name] = &price
	}
	for _, name := range c.Same {
		body.Tools[name] = nil
	}
	if body.Price == nil && body.ReadPrice == nil && body.Tools == nil {
		return invalid("say what shall change: --call, --read, --tool or --same")
	}
	api, err := x.api()
	if err != nil {
		return err
	}
	data, _, err := api.SetPrices(ctx, c.ID, body)
	if err != nil {
		return err
	}
	return x.print(data, func() {})
}
