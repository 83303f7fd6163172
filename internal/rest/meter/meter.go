package meter

import (
	"net/http"
	"net/netip"

	"headgate/internal/access"
	"headgate/internal/quota"
	"headgate/internal/rest"
	"headgate/internal/server/request"
	"headgate/internal/tenancy"
)

// Meter is a door's rest.Config.Limit.
type Meter struct {
	Limiter   *quota.Limiter[string] // the one that calls are counted in
	Tenancy   *tenancy.Service
	Addresses quota.Limit // per address; zero: 300 a minute, 100 at once
	Operators quota.Limit // per operator key; zero: 6,000 a minute, 1,000 at once
}

// Limit takes one request of the principal's rate, of the address's where there
// is none.
func (m Meter) Limit(r *http.Request, p *access.Principal) (rest.Quota, error) {
	key, rate := "", quota.Limit{}
	switch {
	case p == nil:
		key, rate = "address:"+network(request.ClientAddr(r.Context())), or(m.Addresses, quota.Limit{PerMinute: 300, Burst: 100})
	case p.Organization == "":
		key, rate = p.ID, or(m.Operators, quota.Limit{PerMinute: 6000, Burst: 1000})
	default:
		plan, err := m.Tenancy.PlanOf(r.Context(), p.Organization)
		if err != nil {
			return rest.Quota{}, err
		}
		key, rate = p.Metered(), quota.Limit{PerMinute: plan.RatePerMinute, Burst: plan.Burst}
	}
	d := m.Limiter.Take(key, rate)
	return rest.Quota{Limit: d.Limit, Remaining: d.Remaining, Reset: d.Reset}, d.Err()
}

func or(l, fallback quota.Limit) quota.Limit {
	if l == (quota.Limit{}) {
		return fallback
	}
	return l
}

// network is what counts as one source: an IPv4 address or an IPv6 /64, which
// is what one customer of a provider has.
func network(ip netip.Addr) string {
	ip = ip.Unmap().WithZone("")
	if ip.Is6() {
		return netip.PrefixFrom(ip, 64).Masked().String()
	}
	return ip.String()
}
