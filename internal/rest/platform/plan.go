package platform

import (
	"context"

	"headgate/internal/rest"
	"headgate/internal/tenancy"
)

type plan struct {
	ID             string    `json:"id"`
	Slug           string    `json:"slug"`
	Name           string    `json:"name"`
	Features       []string  `json:"features"`
	Users          *int64    `json:"users" nullable:"true" doc:"null is without a limit, here and below."`
	Services       *int64    `json:"services" nullable:"true"`
	RequestsPerDay *int64    `json:"requestsPerDay" nullable:"true"`
	RatePerMinute  int64     `json:"ratePerMinute"`
	Burst          int64     `json:"burst"`
	MonthlyCredits int64     `json:"monthlyCredits"`
	CreatedAt      rest.Time `json:"createdAt"`
}

func limitOf(l tenancy.Limit) *int64 {
	if l == tenancy.Unlimited {
		return nil
	}
	return new(int64(l))
}

func planOf(p *tenancy.Plan) plan {
	return plan{p.ID, p.Slug, p.Name, p.Features, limitOf(p.Users), limitOf(p.Services), limitOf(p.RequestsPerDay), p.RatePerMinute, p.Burst, p.MonthlyCredits, rest.At(p.CreatedAt)}
}

type planList struct {
	Plans []plan `json:"plans"`
}

type planData struct {
	Plan plan `json:"plan"`
}

func (a *api) plans() {
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/plans", ID: "listPlans", Summary: "Plans", Tags: []string{"plans"}, Guard: rest.AnyPrincipal}, a.listPlans)
}

func (a *api) listPlans(ctx context.Context, _ *rest.None) (*rest.OK[planList, rest.Meta], error) {
	plans, err := a.Tenancy.Plans(ctx)
	if err != nil {
		return nil, err
	}
	var list planList
	for i := range plans {
		list.Plans = append(list.Plans, planOf(&plans[i]))
	}
	return ok(list, "")
}
