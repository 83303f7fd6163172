package platform

import (
	"context"

	"headgate/internal/access"
	"headgate/internal/credit"
	"headgate/internal/id"
	"headgate/internal/rest"
)

// Account is a credit account.
type Account struct {
	ID               string    `json:"id"`
	Number           int64     `json:"number"`
	OrganizationID   string    `json:"organizationId"`
	UserID           string    `json:"userId,omitempty" doc:"Of a person's account; empty for the organization's."`
	Balance          int64     `json:"balance"`
	Monthly          int64     `json:"monthly" doc:"Of the balance: this month's allocation, spent first."`
	Purchased        int64     `json:"purchased" doc:"Of the balance: never expires."`
	Held             int64     `json:"held" doc:"Of the balance: set aside for calls in flight."`
	Allocation       int64     `json:"monthlyAllocation"`
	NextAllocationAt rest.Time `json:"nextAllocationAt"`
	Tier             string    `json:"tier"`
	Active           bool      `json:"active"`
	AllowRawRecords  bool      `json:"allowRawRecords"`
	TotalCalls       int64     `json:"totalCalls"`
	TotalUsed        int64     `json:"totalUsed"`
	CreatedAt        rest.Time `json:"createdAt"`
}

func (a *api) accountOf(c credit.Account) Account {
	return Account{c.ID, c.Number, c.Organization, c.User, c.Balance(), c.Monthly, c.Purchased, c.Held, c.Allocation, rest.At(credit.NextGrant(a.Now())), c.Tier,
		c.Active, c.AllowRawRecords, c.TotalCalls, c.TotalUsed, rest.At(c.CreatedAt)}
}

type accountData struct {
	Account Account `json:"account"`
}

type entry struct {
	Sequence      int64     `json:"sequence"`
	Type          string    `json:"type"`
	Amount        int64     `json:"amount"`
	BalanceBefore int64     `json:"balanceBefore"`
	BalanceAfter  int64     `json:"balanceAfter"`
	ReferenceType string    `json:"referenceType"`
	ReferenceID   string    `json:"referenceId,omitempty"`
	LogID         string    `json:"logId,omitempty" doc:"The call."`
	ServiceID     string    `json:"serviceId,omitempty"`
	Price         int64     `json:"price"`
	Description   string    `json:"description,omitempty"`
	CreatedBy     string    `json:"createdBy,omitempty"`
	CreatedAt     rest.Time `json:"createdAt"`
}

func entryOf(e credit.Entry) entry {
	out := entry{e.Seq, e.Type, e.Amount, e.Before, e.After, e.ReferenceType, e.ReferenceID, "", e.Service, e.Price, e.Description, e.CreatedBy, rest.At(e.CreatedAt)}
	if len(e.CallID) == len(id.Raw{}) {
		out.LogID = id.Raw(e.CallID).Text("log")
	}
	return out
}

type entryList struct {
	Entries []entry `json:"entries"`
}

type entryData struct {
	Entry entry `json:"entry"`
}

func (a *api) credits() {
	tags := []string{"credits"}
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/credits", ID: "getCredits", Summary: "The account that pays my calls", Tags: tags, Permission: access.CreditsRead},
		func(ctx context.Context, _ *rest.None) (*rest.OK[accountData, rest.Meta], error) {
			c, err := a.payer(ctx)
			if err != nil {
				return nil, err
			}
			return ok(accountData{a.accountOf(c)}, "")
		})
	rest.Handle(a.door, rest.Op{Method: "GET", Path: "/credits/entries", ID: "listCreditEntries", Summary: "Its ledger, newest first", Tags: tags, Permission: access.CreditsRead},
		func(ctx context.Context, in *rest.Page) (*rest.OK[entryList, rest.Paged], error) {
			c, err := a.payer(ctx)
			if err != nil {
				return nil, err
			}
			return a.history(ctx, c.ID, in)
		})
}

// payer returns the account that pays the caller's calls.
func (a *api) payer(ctx context.Context) (credit.Account, error) {
	by := rest.Principal(ctx)
	if by.Account != "" {
		return a.Credits.Get(ctx, by.Account)
	}
	return a.Credits.Of(ctx, by.Organization, "")
}

func (a *api) history(ctx context.Context, account string, in *rest.Page) (*rest.OK[entryList, rest.Paged], error) {
	entries, total, err := a.Credits.History(ctx, account, in.Limit, in.Offset())
	if err != nil {
		return nil, err
	}
	var list entryList
	for _, e := range entries {
		list.Entries = append(list.Entries, entryOf(e))
	}
	return rest.Ok(list, in.Of(total)), nil
}
