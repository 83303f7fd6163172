package account

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/identity"
	"headgate/internal/quota"
	"headgate/internal/rest"
	"headgate/internal/rest/meter"
	"headgate/internal/seal"
	"headgate/internal/tenancy"
)

// Options are what the door is made of.
type Options struct {
	Version     string // of this program
	Store       *db.Store
	Identity    *identity.Service
	Tenancy     *tenancy.Service
	APIKeys     *apikey.Service
	Credits     *credit.Service
	Limiter     *quota.Limiter[string]
	Addresses   quota.Limit // of requests without a principal; zero: meter's
	Idempotency rest.IdempotencyStore
	Keys        *seal.Keys
	Now         func() time.Time
}

// What a new account gets, now and on the first of each month.
const (
	firstCredits = 50
	freeTier     = "free"
)

// The faults of this door. Its contract words the same refusal in three ways.
var (
	errNotEnabled = fault.New(fault.NotFound, "account.not_enabled", "MCP is not enabled for your account. Click 'Enable MCP' to get started.")
	errNoKey      = fault.New(fault.NotFound, "account.no_key", "MCP is not enabled for your account.")
	errNoUsage    = fault.New(fault.NotFound, "account.no_usage", "")
	errEnabled    = fault.New(fault.Invalid, "account.already_enabled", "MCP is already enabled for your account.")
)

var (
	codes = map[string]string{
		errNotEnabled.Code: "mcp_not_enabled", errNoKey.Code: "mcp_not_enabled", errNoUsage.Code: "mcp_not_enabled", errEnabled.Code: "already_enabled",
	}
	texts = map[string]string{
		rest.ErrNoCredential.Code:     "Missing Authorization header",
		rest.ErrCredentialForm.Code:   "Invalid Authorization header format",
		identity.ErrTokenExpired.Code: "Token expired",
		identity.ErrNoEmail.Code:      "Invalid token: missing email",
	}
)

type api struct {
	Options
	door *rest.Door
}

// New returns the door.
func New(o Options) *rest.Door {
	a := &api{Options: o}
	var prefixes []string
	for _, p := range apikey.Prefixes() {
		prefixes = append(prefixes, p.Text)
	}
	a.door = rest.New(rest.Config{
		Base: "/api/mcp", Title: "Headgate Account API", Version: o.Version, Detail: "My balance, my key, my use of tools.",
		Form:         rest.AccountForm(codes, texts),
		Credentials:  rest.Credentials{Prefixes: prefixes},
		Authenticate: a.authenticate, CredentialFaults: []*fault.Error{rest.ErrNoCredential, rest.ErrCredentialForm, identity.ErrTokenExpired, identity.ErrNoEmail},
		Limit:       meter.Meter{Limiter: o.Limiter, Tenancy: o.Tenancy, Addresses: o.Addresses}.Limit,
		Idempotency: o.Idempotency,
		Sealer:      o.Keys,
	})
	op := func(method, path, id, summary string, own *fault.Error) rest.Op {
		return rest.Op{Method: method, Path: path, ID: id, Summary: summary, Tags: []string{"account"}, Permission: access.AccountManage, Faults: []*fault.Error{own}}
	}
	enable := op("POST", "/enable", "enable", "Open my account and make its key", errEnabled)
	regenerate := op("POST", "/regenerate-key", "regenerateKey", "Replace my key; the old one dies at once", errNoKey)
	for _, o := range []*rest.Op{&enable, &regenerate} {
		o.RefuseKeys, o.Idempotent = prefixes, true
	}
	rest.Handle(a.door, op("GET", "/account", "getAccount", "My account", errNotEnabled), a.get)
	rest.Handle(a.door, enable, a.enable)
	rest.Handle(a.door, regenerate, a.regenerate)
	rest.Handle(a.door, op("GET", "/usage", "getUsage", "My tool calls, newest first", errNoUsage), a.usage)
	rest.Handle(a.door, op("GET", "/usage/summary", "getUsageSummary", "What I used today and this month", errNoUsage), a.summary)
	return a.door
}

// authenticate takes tokens of sessions alone.
func (a *api) authenticate(r *http.Request, c rest.Credential) (*access.Principal, error) {
	if c.Prefix != "" {
		return nil, identity.ErrTokenInvalid
	}
	return a.Identity.Authenticate(r.Context(), c.Value)
}

type account struct {
	ID                       int64     `json:"id"`
	UserEmail                string    `json:"user_email"`
	DisplayName              *string   `json:"display_name" nullable:"true"`
	MCPKeyPrefix             string    `json:"mcp_key_prefix"`
	CreditsBalance           int64     `json:"credits_balance"`
	CreditsTier              string    `json:"credits_tier"`
	CreditsMonthlyAllocation int64     `json:"credits_monthly_allocation"`
	IsActive                 bool      `json:"is_active"`
	LastConnectedAt          rest.Time `json:"last_connected_at" nullable:"true"`
	TotalToolCalls           int64     `json:"total_tool_calls"`
	TotalCreditsUsed         int64     `json:"total_credits_used"`
	StripeSubscriptionStatus *string   `json:"stripe_subscription_status" nullable:"true"`
	CreatedAt                rest.Time `json:"created_at"`
}

type enabled struct {
	Success   bool    `json:"success"`
	Message   string  `json:"message"`
	MCPAPIKey string  `json:"mcp_api_key" doc:"Shown only here."`
	Account   account `json:"account"`
}

type regenerated struct {
	Success      bool   `json:"success"`
	Message      string `json:"message"`
	MCPAPIKey    string `json:"mcp_api_key" doc:"Shown only here."`
	MCPKeyPrefix string `json:"mcp_key_prefix"`
}

// mine returns the account of the person who asks, or missing.
func (a *api) mine(ctx context.Context, missing error) (credit.Account, error) {
	by := rest.Principal(ctx)
	c, err := a.Credits.Of(ctx, by.Organization, by.User)
	if errors.Is(err, credit.ErrNoAccount) {
		return c, missing
	}
	return c, err
}

// keyOf returns an account's one key; an operator may have revoked it.
func (a *api) keyOf(ctx context.Context, account string) (apikey.Key, error) {
	keys, _, err := a.APIKeys.List(ctx, apikey.Filter{Account: account, Kinds: []access.Kind{access.AccountKey}, Limit: 1})
	if err != nil || len(keys) == 0 {
		return apikey.Key{}, err
	}
	return keys[0], nil
}

func (a *api) show(ctx context.Context, c credit.Account, k apikey.Key) (account, error) {
	u, err := a.Identity.Me(ctx, rest.Principal(ctx))
	if err != nil {
		return account{}, err
	}
	out := account{ID: c.Number, UserEmail: u.Email, MCPKeyPrefix: k.Prefix, CreditsBalance: c.Balance(), CreditsTier: c.Tier, CreditsMonthlyAllocation: c.Allocation,
		IsActive: c.Active, LastConnectedAt: rest.At(c.LastConnectedAt), TotalToolCalls: c.TotalCalls, TotalCreditsUsed: c.TotalUsed, CreatedAt: rest.At(c.CreatedAt)}
	if k.LastUsedAt.After(c.LastConnectedAt) {
		out.LastConnectedAt = rest.At(k.LastUsedAt)
	}
	if name := strings.TrimSpace(u.FirstName + " " + u.LastName); name != "" {
		out.DisplayName = &name
	}
	return out, nil
}

func (a *api) get(ctx context.Context, _ *rest.None) (*account, error) {
	c, err := a.mine(ctx, errNotEnabled)
	if err != nil {
		return nil, err
	}
	k, err := a.keyOf(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	out, err := a.show(ctx, c, k)
	return &out, err
}

func keySpec(by *access.Principal, account string) apikey.Spec {
	return apikey.Spec{Kind: access.AccountKey, Organization: by.Organization, User: by.User, Account: account, Name: "Account key"}
}

// enable makes account, first grant and key, or nothing.
func (a *api) enable(ctx context.Context, _ *rest.None) (*enabled, error) {
	by := rest.Principal(ctx)
	var c credit.Account
	var k apikey.Key
	var value seal.Value
	err := a.Store.Tx(ctx, func(tx *db.Tx) (err error) {
		c, err = a.Credits.Open(ctx, tx, credit.Spec{Organization: by.Organization, User: by.User, Monthly: firstCredits, Allocation: firstCredits, Tier: freeTier, CreatedBy: by.User})
		if errors.Is(err, credit.ErrExists) {
			return errEnabled
		}
		if err != nil {
			return err
		}
		k, value, err = a.APIKeys.Issue(ctx, tx, by, keySpec(by, c.ID))
		return err
	})
	if err != nil {
		return nil, err
	}
	shown, err := a.show(ctx, c, k)
	return &enabled{true, "MCP enabled successfully! Store your API key securely - it won't be shown again.", value.Reveal(), shown}, err
}

func (a *api) regenerate(ctx context.Context, _ *rest.None) (*regenerated, error) {
	by := rest.Principal(ctx)
	c, err := a.mine(ctx, errNoKey)
	if err != nil {
		return nil, err
	}
	var k apikey.Key
	var value seal.Value
	err = a.Store.Tx(ctx, func(tx *db.Tx) (err error) {
		k, value, err = a.APIKeys.Replace(ctx, tx, by, keySpec(by, c.ID))
		return err
	})
	if err != nil {
		return nil, err
	}
	return &regenerated{true, "MCP API key regenerated successfully! Store it securely - it won't be shown again.", value.Reveal(), k.Prefix}, nil
}
