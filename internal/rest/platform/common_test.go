package platform_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/quota"
	"headgate/internal/rest"
	"headgate/internal/rest/platform"
	"headgate/internal/rest/resttest"
	"headgate/internal/tenancy"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

// TestCommonFaults provokes on every operation what each may answer.
func TestCommonFaults(t *testing.T) {
	t.Parallel()
	var ago atomic.Int64 // a clock that can go back
	h := newHouse(t, testkit.SQLite(t), world.Options{Now: func() time.Time { return time.Now().Add(-time.Duration(ago.Load())) }})
	ago.Store(int64(time.Hour))
	old := h.Start(h.owner.User, h.owner.Organization.ID).Token
	ago.Store(0)
	_, operator := h.Key(nil, access.OperatorKey, "")
	const key = "used-before"
	for slug, credential := range map[string]string{"mine": h.owner.Token, "everybodys": operator} {
		h.as(credential, "POST", "/mcp/services", map[string]any{"slug": slug, "url": "http://127.0.0.1:8089/mcp"}, "Idempotency-Key: "+key).want(201)
	}
	o := options(h.World)
	o.Addresses, o.Operators = quota.Limit{PerMinute: 6e8, Burst: 1e7}, quota.Limit{PerMinute: 6e8, Burst: 1e7}
	h.door = platform.New(o)
	last := "" // the key before is revoked: there may be only so many
	once := func(o *tenancy.Organization, kind access.Kind) string {
		if last != "" {
			testkit.Must0(t, h.APIKeys.Revoke(t.Context(), world.Headgate(o), last))
		}
		k, value := h.Key(o, kind, "")
		last = k.ID
		return value
	}
	secret := `{"token":"` + strings.Repeat("t", 43) + `","password":"` + newPassword + `"}`
	busy := options(h.World)
	busy.Limiter, busy.Addresses = quota.NewLimiter[string](1000, h.Now), quota.Limit{PerMinute: 1, Burst: 1}
	resttest.Common{
		Door: h.door, Busy: platform.New(busy), Hollow: platform.New(platform.Options{Idempotency: h.Replay, Keys: h.Keys}),
		Bad: map[string]string{"AUTH_TOKEN_EXPIRED": "Bearer " + old, "AUTH_TOKEN_INVALID": ""},
		Bodies: map[string]string{
			"register": `{"email":"new@example.com","password":"` + newPassword + `","firstName":"A","lastName":"B"}`,
			"refresh":  `{"refreshToken":"` + h.owner.Refresh + `"}`, "resetPassword": secret,
			"verifyEmail": strings.Replace(secret, `,"password":"`+newPassword+`"`, "", 1), "showInvitation": strings.Replace(secret, `,"password":"`+newPassword+`"`, "", 1),
		},
		Fresh: func(op rest.Op) string {
			switch {
			case op.Permission == access.Operate:
				return once(nil, access.OperatorKey)
			case len(op.Audience) == 1 && op.Audience[0] == access.WorkspaceKey:
				return once(h.owner.Organization, access.WorkspaceKey)
			}
			return h.Start(h.owner.User, h.owner.Organization.ID).Token
		},
		Used: func(op rest.Op) (string, string) {
			if op.Permission == access.Operate {
				return operator, key
			}
			return h.Start(h.owner.User, h.owner.Organization.ID).Token, key
		},
	}.Run(t)
}
