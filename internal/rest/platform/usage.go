package platform

import (
	"context"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/credit"
	"headgate/internal/fault"
	"headgate/internal/rest"
)

type usageRow struct {
	ServiceID   string `json:"serviceId"`
	ServiceName string `json:"serviceName"`
	Period      string `json:"period" doc:"2026-07-28 by day, 2026-07 by month; UTC."`
	Calls       int64  `json:"calls"`
	Credits     int64  `json:"credits"`
}

type usageList struct {
	Usage  []usageRow `json:"usage"`
	Totals usageTotal `json:"totals"`
	Today  today      `json:"today"`
}

type usageTotal struct {
	Calls   int64 `json:"calls"`
	Credits int64 `json:"credits"`
}

// today is what the plan counts.
type today struct {
	Requests int64     `json:"requests"`
	Limit    *int64    `json:"limit" nullable:"true" doc:"The plan's requests per day; null without a limit."`
	Reset    rest.Time `json:"reset"`
}

type getUsage struct {
	Period
	By        string `query:"by" enum:"day,month" default:"day"`
	ServiceID string `query:"serviceId" maxLength:"64"`
}

// usageDays bounds what one answer covers.
const usageDays = 366

func (a *api) usage() {
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/usage", ID: "getUsage", Summary: "Calls and credits by service and day or month", Tags: []string{"usage"}, Permission: access.CreditsRead, Errors: []fault.Kind{fault.NotFound},
		Detail: "From the ledger: what was settled. The last 30 days unless a period is given, at most 366 days."}, a.getUsage)
}

func (a *api) getUsage(ctx context.Context, in *getUsage) (*rest.OK[usageList, rest.Meta], error) {
	by := rest.Principal(ctx)
	f := credit.UsageFilter{Organization: by.Organization}
	var err error
	if f.From, f.Until, err = in.days(a.Now()); err != nil {
		return nil, err
	}
	if in.ServiceID != "" {
		if f.Service, err = ref("svc", in.ServiceID, catalog.ErrServiceNotFound); err != nil {
			return nil, err
		}
	}
	days, err := a.Credits.Usage(ctx, f)
	if err != nil {
		return nil, err
	}
	list := sumUp(days, in.By)
	var ids []string
	seen := map[string]bool{}
	for _, r := range list.Usage {
		if !seen[r.ServiceID] {
			seen[r.ServiceID] = true
			ids = append(ids, r.ServiceID)
		}
	}
	names, err := catalog.ServiceNames(ctx, a.Store, ids)
	if err != nil {
		return nil, err
	}
	for i := range list.Usage {
		list.Usage[i].ServiceName = names[list.Usage[i].ServiceID]
	}
	if list.Today, err = a.today(ctx, by.Organization); err != nil {
		return nil, err
	}
	return ok(list, "")
}

// days returns the first and the last day asked for.
func (in *getUsage) days(now time.Time) (from, last time.Time, err error) {
	from, until, err := in.Period.read()
	if err != nil {
		return from, until, err
	}
	last = until.Add(-time.Millisecond)
	if until.IsZero() {
		last = now.UTC()
	}
	if from.IsZero() {
		from = last.AddDate(0, 0, -29)
	}
	if last.Sub(from) > usageDays*24*time.Hour {
		return from, last, rest.Invalid(rest.Problem{Field: "query.startDate", Message: "the period may have 366 days"})
	}
	return from, last, nil
}

func sumUp(days []credit.UsageDay, by string) usageList {
	var list usageList
	form := time.DateOnly
	if by == "month" {
		form = "2006-01"
	}
	at := map[[2]string]int{}
	for _, d := range days {
		key := [2]string{d.Service, d.Day.Format(form)}
		i, known := at[key]
		if !known {
			i = len(list.Usage)
			at[key] = i
			list.Usage = append(list.Usage, usageRow{ServiceID: d.Service, Period: key[1]})
		}
		list.Usage[i].Calls += d.Calls
		list.Usage[i].Credits += d.Credits
		list.Totals.Calls += d.Calls
		list.Totals.Credits += d.Credits
	}
	return list
}

func (a *api) today(ctx context.Context, organization string) (today, error) {
	plan, err := a.Tenancy.PlanOf(ctx, organization)
	if err != nil {
		return today{}, err
	}
	used, reset, err := a.Daily.Today(ctx, organization)
	if err != nil {
		return today{}, err
	}
	return today{used, limitOf(plan.RequestsPerDay), rest.At(reset)}, nil
}
