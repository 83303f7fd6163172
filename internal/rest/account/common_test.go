package account_test

import (
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/identity"
	"headgate/internal/quota"
	"headgate/internal/rest"
	"headgate/internal/rest/account"
	"headgate/internal/rest/resttest"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

// TestCommonFaults provokes on every operation what each may answer.
func TestCommonFaults(t *testing.T) {
	var ago atomic.Int64 // a clock that can go back
	h := newHouse(t, testkit.SQLite(t), world.Options{Now: func() time.Time { return time.Now().Add(-time.Duration(ago.Load())) }, Issuers: []identity.Issuer{issuer}})
	p := h.Tenant("ada")
	ago.Store(int64(time.Hour))
	old := h.Start(p.User, p.Organization.ID).Token
	ago.Store(0)
	const key = "used-before"
	h.as(p.Token, "POST", "/enable", "Idempotency-Key: "+key)
	busy := account.New(account.Options{Store: h.Store, Identity: h.Identity, Tenancy: h.Tenancy, Limiter: quota.NewLimiter[string](1000, h.Now),
		Addresses: quota.Limit{PerMinute: 1, Burst: 1}, Idempotency: h.Replay, Keys: h.Keys})
	off := h.Customer(p, "Off")
	suspended := h.Start(p.User, off.ID).Token
	testkit.Must(h.Tenancy.SuspendOrganization(t.Context(), &access.Principal{Kind: access.OperatorKey, ID: "key_operator"}, off.ID))(t)
	fresh := func(rest.Op) string { return h.Start(p.User, p.Organization.ID).Token }
	resttest.Common{
		Door: h.door, Busy: busy, Hollow: account.New(account.Options{Idempotency: h.Replay, Keys: h.Keys}), Fresh: fresh,
		Bad: map[string]string{"Missing Authorization header": "", "Invalid Authorization header format": "Basic YTpi", "Token expired": "Bearer " + old, "Invalid token": "Bearer a.b.c",
			"Invalid token: missing email": "Bearer " + outside(t, nil)},
		Refused: suspended,
		Used:    func(op rest.Op) (string, string) { return fresh(op), key },
	}.Run(t)
}
