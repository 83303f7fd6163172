package account

import (
	"context"
	"math"
	"time"

	"headgate/internal/activity"
	"headgate/internal/credit"
	"headgate/internal/id"
	"headgate/internal/mcp"
	"headgate/internal/rest"
)

type usageInput struct {
	Days        int    `query:"days" minimum:"1" maximum:"90" default:"7"`
	ToolName    string `query:"tool_name" maxLength:"256"`
	SuccessOnly bool   `query:"success_only"`
	Limit       int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
	Offset      int    `query:"offset" minimum:"0" maximum:"1000000000"`
}

type usage struct {
	TotalCalls int64      `json:"total_calls"`
	PeriodDays int        `json:"period_days"`
	ToolCalls  []toolCall `json:"tool_calls"`
}

type toolCall struct {
	RequestID      string    `json:"request_id"`
	ToolName       string    `json:"tool_name"`
	CreditsCost    int64     `json:"credits_cost"`
	CreditsCharged int64     `json:"credits_charged"`
	Success        bool      `json:"success"`
	IsBackendError bool      `json:"is_backend_error"`
	ErrorCode      *string   `json:"error_code" nullable:"true"`
	LatencyMs      int64     `json:"latency_ms"`
	CreatedAt      rest.Time `json:"created_at"`
}

// usage lists the calls of the last days, to the minute, not by calendar.
func (a *api) usage(ctx context.Context, in *usageInput) (*usage, error) {
	c, err := a.mine(ctx, errNoUsage)
	if err != nil {
		return nil, err
	}
	f := activity.CallFilter{Organization: c.Organization, Personal: c.ID, Operation: mcp.MethodToolsCall, Name: in.ToolName, From: a.Now().Add(-time.Duration(in.Days) * 24 * time.Hour)}
	if in.SuccessOnly {
		f.Success = &in.SuccessOnly
	}
	out := &usage{PeriodDays: in.Days}
	if out.TotalCalls, err = activity.CountCalls(ctx, a.Store, f); err != nil {
		return nil, err
	}
	lines, err := activity.Calls(ctx, a.Store, f, id.Raw{}, in.Limit, in.Offset)
	if err != nil {
		return nil, err
	}
	for _, l := range lines {
		t := toolCall{RequestID: id.UUID(l.ID.Text("req")), ToolName: l.Name, CreditsCost: l.Cost, CreditsCharged: l.Charged, Success: l.Success, IsBackendError: l.BackendError,
			LatencyMs: l.Duration.Milliseconds(), CreatedAt: rest.At(l.CreatedAt)}
		if l.ErrorCode != "" {
			t.ErrorCode = &l.ErrorCode
		}
		out.ToolCalls = append(out.ToolCalls, t)
	}
	return out, nil
}

type summary struct {
	CreditsBalance           int64      `json:"credits_balance"`
	CreditsTier              string     `json:"credits_tier"`
	CreditsMonthlyAllocation int64      `json:"credits_monthly_allocation"`
	CreditsUsedToday         int64      `json:"credits_used_today"`
	CreditsUsedThisMonth     int64      `json:"credits_used_this_month"`
	TotalCallsToday          int64      `json:"total_calls_today"`
	TotalCallsThisMonth      int64      `json:"total_calls_this_month"`
	SuccessRate              float64    `json:"success_rate" doc:"Percent of this month's calls; 100 when there are none."`
	AvgLatencyMs             float64    `json:"avg_latency_ms" doc:"Of this month's calls; 0 when there are none."`
	ToolBreakdown            []toolPart `json:"tool_breakdown" doc:"This month's."`
	DaysUntilRefill          int        `json:"days_until_refill"`
}

type toolPart struct {
	Tool    string `json:"tool"`
	Calls   int64  `json:"calls"`
	Credits int64  `json:"credits"`
}

// summary counts by calendar, UTC: this day and this month.
func (a *api) summary(ctx context.Context, _ *rest.None) (*summary, error) {
	c, err := a.mine(ctx, errNoUsage)
	if err != nil {
		return nil, err
	}
	now := a.Now().UTC()
	today := now.Truncate(24 * time.Hour)
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	tools, err := activity.Spendings(ctx, a.Store, c.ID, month, today)
	if err != nil {
		return nil, err
	}
	out := &summary{CreditsBalance: c.Balance(), CreditsTier: c.Tier, CreditsMonthlyAllocation: c.Allocation, SuccessRate: 100,
		DaysUntilRefill: int(credit.NextGrant(now).Sub(today) / (24 * time.Hour))}
	var success int64
	var latency time.Duration
	for _, t := range tools {
		out.ToolBreakdown = append(out.ToolBreakdown, toolPart{t.Name, t.Calls, t.Charged})
		out.TotalCallsThisMonth += t.Calls
		out.CreditsUsedThisMonth += t.Charged
		out.TotalCallsToday += t.LateCalls
		out.CreditsUsedToday += t.LateCharged
		success += t.Success
		latency += t.Latency
	}
	if n := out.TotalCallsThisMonth; n > 0 {
		out.SuccessRate = tenth(float64(success) * 100 / float64(n))
		out.AvgLatencyMs = tenth(float64(latency.Microseconds()) / 1000 / float64(n))
	}
	return out, nil
}

func tenth(f float64) float64 { return math.Round(f*10) / 10 }
