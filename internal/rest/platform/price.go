package platform

import (
	"context"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/rest"
)

type prices struct {
	Price          int64            `json:"price" doc:"Credits a tool call costs."`
	ReadPrice      int64            `json:"readPrice" doc:"Credits a resource or prompt costs."`
	ChargeRejected bool             `json:"chargeRejected" doc:"Whether a refusal by the server costs what an answer costs."`
	Tools          map[string]int64 `json:"tools" doc:"Tools with a price of their own."`
}

type pricesData struct {
	Prices prices `json:"prices"`
}

type getPrices struct {
	ByService
	At string `query:"at" maxLength:"40" doc:"The prices at that moment (ISO 8601) instead of now."`
}

type setPrices struct {
	ByService
	Body setPricesBody
}

type setPricesBody struct {
	PriceFields
	Tools map[string]*int64 `json:"tools,omitempty" maxProperties:"2000" doc:"null takes a tool's own price away."`
}

func pricesOf(p *catalog.Prices) pricesData {
	if p.Tools == nil {
		p.Tools = map[string]int64{}
	}
	return pricesData{prices{p.Default, p.Read, p.ChargeRejected, p.Tools}}
}

func (a *api) prices() {
	tags := []string{"services"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/mcp/services/{serviceId}/prices", ID: "getPrices", Summary: "What a service costs", Tags: tags, Guard: either(access.ServicesRead)},
		func(ctx context.Context, in *getPrices) (*rest.OK[pricesData, rest.Meta], error) {
			var at time.Time
			if in.At != "" {
				var err error
				if at, err = moment("query.at", in.At, false); err != nil {
					return nil, err
				}
			}
			p, err := a.Catalog.Prices(ctx, rest.Principal(ctx), in.ID, at)
			if err != nil {
				return nil, err
			}
			return ok(pricesOf(p), "")
		})
	rest.Handle(a.door, rest.Op{Method: "PUT", Path: "/mcp/services/{serviceId}/prices", ID: "setPrices", Summary: "Change what a service costs", Tags: tags,
		Detail: "Prices are set by the seller: the operator, or a tenant's own staff. Calls under way keep the price they were held for.", Guard: either(access.ServicesAdmin)},
		func(ctx context.Context, in *setPrices) (*rest.OK[pricesData, rest.Meta], error) {
			p, err := a.Catalog.SetPrices(ctx, rest.Principal(ctx), in.ID, catalog.PriceChange{Default: in.Body.Price, Read: in.Body.ReadPrice,
				ChargeRejected: in.Body.ChargeRejected, Tools: in.Body.Tools})
			if err != nil {
				return nil, err
			}
			return ok(pricesOf(p), "")
		})
}
