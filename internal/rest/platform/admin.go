package platform

import (
	"context"
	"errors"
	"slices"

	"headgate/internal/access"
	"headgate/internal/credit"
	"headgate/internal/fault"
	"headgate/internal/identity"
	"headgate/internal/rest"
	"headgate/internal/tenancy"
)

type adminAccount struct {
	Account
	Email string `json:"email,omitempty" doc:"Of the person whose account it is."`
}

type adminAccountList struct {
	Accounts []adminAccount `json:"accounts"`
}

type adminAccountData struct {
	Account adminAccount `json:"account"`
}

type listAccounts struct {
	rest.Page
	OrganizationID string `query:"organizationId" maxLength:"64"`
	UserID         string `query:"userId" maxLength:"64"`
	Email          string `query:"email" maxLength:"320" doc:"The address of the person, whole."`
	Tier           string `query:"tier" maxLength:"32"`
	Inactive       bool   `query:"includeInactive"`
}

// ByAccount is the input of what is about one credit account.
type ByAccount struct {
	ID string `path:"accountId" maxLength:"64"`
}

type listAccountEntries struct {
	ByAccount
	rest.Page
}

type topUp struct {
	ByAccount
	Body topUpBody
}

type topUpBody struct {
	Amount int64  `json:"amount,omitempty" minimum:"1" maximum:"1000000000000000" doc:"Credits. Left out when a pack is named."`
	Pack   string `json:"pack,omitempty" maxLength:"32" doc:"The slug of a credit pack."`
	Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Kept with the entry."`
}

type takeCredits struct {
	ByAccount
	Body takeCreditsBody
}

type takeCreditsBody struct {
	Amount int64  `json:"amount" minimum:"1" maximum:"1000000000000000" doc:"Credits."`
	Reason string `json:"reason" minLength:"1" maxLength:"500" doc:"Kept with the entry."`
}

type updateAccount struct {
	ByAccount
	Body updateAccountBody
}

type updateAccountBody struct {
	Active            *bool   `json:"active,omitempty"`
	AllowRawRecords   *bool   `json:"allowRawRecords,omitempty"`
	MonthlyAllocation *int64  `json:"monthlyAllocation,omitempty" minimum:"0" maximum:"1000000000000000"`
	Tier              *string `json:"tier,omitempty" minLength:"1" maxLength:"32"`
}

type pack struct {
	Slug    string `json:"slug"`
	Name    string `json:"name"`
	Credits int64  `json:"credits"`
	Cents   int64  `json:"priceCents" doc:"US cents."`
}

type packList struct {
	CreditPacks []pack `json:"creditPacks"`
}

// adminTags mark the operator tier.
var adminTags = []string{"operator"}

func adminOp(method, path, id, summary string, errs ...fault.Kind) rest.Op {
	return rest.Op{Method: method, Path: "/admin" + path, ID: id, Summary: summary, Tags: adminTags, Permission: access.Operate, Errors: errs}
}

func (a *api) adminAccounts() {
	rest.Handle(a.door, adminOp("GET", "/accounts", "adminListAccounts", "Credit accounts", fault.NotFound), a.adminListAccounts)
	rest.Handle(a.door, adminOp("GET", "/accounts/{accountId}", "adminGetAccount", "A credit account"), a.adminGetAccount)
	rest.Handle(a.door, adminOp("PATCH", "/accounts/{accountId}", "adminUpdateAccount", "Change a credit account"), a.adminUpdateAccount)
	rest.Handle(a.door, adminOp("GET", "/accounts/{accountId}/entries", "adminListEntries", "A credit account's history"), func(ctx context.Context, in *listAccountEntries) (*rest.OK[entryList, rest.Paged], error) {
		account, err := ref("acc", in.ID, credit.ErrNoAccount)
		if err != nil {
			return nil, err
		}
		return a.history(ctx, account, &in.Page)
	})
	op := adminOp("POST", "/accounts/{accountId}/top-up", "adminTopUp", "Add credits")
	op.Idempotent = true
	rest.Handle(a.door, op, a.adminTopUp)
	op = adminOp("POST", "/accounts/{accountId}/take", "adminTakeCredits", "Take credits away", fault.Conflict, fault.Unpaid)
	op.Idempotent, op.Detail = true, "Never more than there is and nobody holds."
	rest.Handle(a.door, op, a.adminTakeCredits)
	rest.Handle(a.door, adminOp("GET", "/credit-packs", "adminListCreditPacks", "Credit packs on offer"), func(context.Context, *rest.None) (*rest.OK[packList, rest.Meta], error) {
		var list packList
		for _, p := range a.Packs {
			list.CreditPacks = append(list.CreditPacks, pack(p))
		}
		return ok(list, "")
	})
}

// withEmail adds whose account it is.
func (a *api) withEmail(ctx context.Context, c credit.Account) (adminAccount, error) {
	out := adminAccount{Account: a.accountOf(c)}
	if c.User == "" {
		return out, nil
	}
	u, err := a.Identity.User(ctx, c.User)
	switch {
	case errors.Is(err, identity.ErrNoUser):
	case err != nil:
		return out, err
	default:
		out.Email = u.Email
	}
	return out, nil
}

func (a *api) adminListAccounts(ctx context.Context, in *listAccounts) (*rest.OK[adminAccountList, rest.Paged], error) {
	f := credit.AccountFilter{Tier: in.Tier, Inactive: in.Inactive}
	var err error
	if in.OrganizationID != "" {
		if f.Organization, err = ref("org", in.OrganizationID, tenancy.ErrNoOrganization); err != nil {
			return nil, err
		}
	}
	if in.UserID != "" {
		if f.User, err = ref("user", in.UserID, identity.ErrNoUser); err != nil {
			return nil, err
		}
	}
	if in.Email != "" {
		u, err := a.Identity.UserByEmail(ctx, identity.PlatformPool, in.Email)
		if errors.Is(err, identity.ErrNoUser) {
			return rest.Ok(adminAccountList{}, in.Of(0)), nil
		}
		if err != nil {
			return nil, err
		}
		f.User = u.ID
	}
	accounts, total, err := a.Credits.Accounts(ctx, rest.Principal(ctx), f, in.Limit, in.Offset())
	if err != nil {
		return nil, err
	}
	var list adminAccountList
	for _, c := range accounts {
		row, err := a.withEmail(ctx, c)
		if err != nil {
			return nil, err
		}
		list.Accounts = append(list.Accounts, row)
	}
	return rest.Ok(list, in.Of(total)), nil
}

func (a *api) adminAnswer(ctx context.Context, c credit.Account, err error) (*rest.OK[adminAccountData, rest.Meta], error) {
	if err != nil {
		return nil, err
	}
	row, err := a.withEmail(ctx, c)
	if err != nil {
		return nil, err
	}
	return ok(adminAccountData{row}, "")
}

func (a *api) adminGetAccount(ctx context.Context, in *ByAccount) (*rest.OK[adminAccountData, rest.Meta], error) {
	account, err := ref("acc", in.ID, credit.ErrNoAccount)
	if err != nil {
		return nil, err
	}
	c, err := a.Credits.Get(ctx, account)
	return a.adminAnswer(ctx, c, err)
}

func (a *api) adminUpdateAccount(ctx context.Context, in *updateAccount) (*rest.OK[adminAccountData, rest.Meta], error) {
	account, err := ref("acc", in.ID, credit.ErrNoAccount)
	if err != nil {
		return nil, err
	}
	c, err := a.Credits.Update(ctx, rest.Principal(ctx), account, credit.AccountChange{Active: in.Body.Active, AllowRawRecords: in.Body.AllowRawRecords,
		Allocation: in.Body.MonthlyAllocation, Tier: in.Body.Tier})
	return a.adminAnswer(ctx, c, err)
}

func (a *api) adminTopUp(ctx context.Context, in *topUp) (*rest.OK[entryData, rest.Meta], error) {
	account, err := ref("acc", in.ID, credit.ErrNoAccount)
	if err != nil {
		return nil, err
	}
	amount := in.Body.Amount
	if in.Body.Pack != "" {
		i := slices.IndexFunc(a.Packs, func(p credit.Pack) bool { return p.Slug == in.Body.Pack })
		switch {
		case i < 0:
			return nil, errNoPack
		case amount != 0:
			return nil, rest.Invalid(rest.Problem{Field: "body.amount", Message: "must be left out when a pack is named"})
		}
		amount = a.Packs[i].Credits
	}
	e, err := a.Credits.TopUp(ctx, rest.Principal(ctx), account, amount, in.Body.Reason, "")
	if err != nil {
		return nil, err
	}
	return ok(entryData{entryOf(e)}, "")
}

func (a *api) adminTakeCredits(ctx context.Context, in *takeCredits) (*rest.OK[entryData, rest.Meta], error) {
	account, err := ref("acc", in.ID, credit.ErrNoAccount)
	if err != nil {
		return nil, err
	}
	e, err := a.Credits.TopUp(ctx, rest.Principal(ctx), account, -in.Body.Amount, in.Body.Reason, "")
	if err != nil {
		return nil, err
	}
	return ok(entryData{entryOf(e)}, "")
}
