package diagnostics_test

import (
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/quota"
	"headgate/internal/rest"
	"headgate/internal/rest/diagnostics"
	"headgate/internal/rest/meter"
	"headgate/internal/rest/resttest"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

// TestCommonFaults provokes on every operation what each may answer.
func TestCommonFaults(t *testing.T) {
	var o diagnostics.Options
	h := onSQLite(t, func(made *diagnostics.Options) { o = *made })
	h.now = h.now.Add(-time.Hour)
	old := h.Start(h.owner.User, h.owner.Organization.ID).Token
	h.now = h.now.Add(time.Hour)
	o.Limiter = quota.NewLimiter[string](1000, h.Now)
	door, web := diagnostics.New(o)
	emptyDoor, emptyWeb := diagnostics.New(diagnostics.Options{})
	hollow := *h // its platform door has no services
	hollow.World, hollow.grants, hollow.diagnosis = &world.World{}, nil, nil
	platform := h.platformOf(meter.Meter{Limiter: o.Limiter, Tenancy: h.Tenancy, Addresses: quota.Limit{PerMinute: 1, Burst: 1}})
	last := "" // the key before is revoked: there may be only so many
	key := func(rest.Op) string {
		h.now = h.now.Add(2 * time.Second) // what the last requests took of the rate
		if last != "" {
			testkit.Must0(t, h.APIKeys.Revoke(t.Context(), world.Headgate(h.owner.Organization), last))
		}
		k, value := h.Key(h.owner.Organization, access.DiagnosticsKey, h.owner.ID)
		last = k.ID
		return value
	}
	off := h.Customer(h.owner, "Off")
	refused := h.Start(h.owner.User, off.ID).Token
	testkit.Must(h.Tenancy.SuspendOrganization(t.Context(), &access.Principal{Kind: access.OperatorKey, ID: "key_operator"}, off.ID))(t)
	session := func(rest.Op) string {
		h.now = h.now.Add(2 * time.Second)
		return h.Start(h.owner.User, h.owner.Organization.ID).Token
	}
	t.Run("the Diagnostics API", resttest.Common{Door: h.door, Busy: door, Hollow: emptyDoor, Fresh: key, Refused: refused, Bad: map[string]string{"UNAUTHORIZED": "Bearer " + old}}.Run)
	t.Run("the key routes", resttest.Common{Door: h.web, Busy: web, Hollow: emptyWeb, Fresh: session, Bad: map[string]string{"UNAUTHORIZED": ""}}.Run)
	t.Run("the Platform API", resttest.Common{Door: h.platform, Busy: platform, Hollow: hollow.platformOf(meter.Meter{}), Fresh: session,
		Bad: map[string]string{"AUTH_TOKEN_EXPIRED": "Bearer " + old, "AUTH_TOKEN_INVALID": ""}}.Run)
}
