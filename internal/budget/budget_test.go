package budget_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/budget"
	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/testkit"
	"headgate/internal/workspace"
)

const cent = budget.MicrosPerCent

// house is a workspace and the budgets of one replica, over a clock.
type house struct {
	*budget.Service
	t          *testing.T
	store      *db.Store
	workspaces *workspace.Service
	by         *access.Principal
	ws         workspace.Workspace
	clock      atomic.Int64
}

func each(t *testing.T, test func(t *testing.T, h *house)) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := &house{t: t, store: s}
		h.clock.Store(time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC).UnixMilli())
		h.workspaces = workspace.New(s, h.now)
		exec := func(text string, args ...any) { testkit.Must(db.Exec(t.Context(), s, text, args...))(t) }
		exec(`INSERT INTO tenants (id, slug, name, created_at) VALUES ('ten_1', 't', 'T', 0)`)
		exec(`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ('plan_1', 'p', 'P', 1, 1, 0, '{}', 0)`)
		org := id.New("org")
		exec(`INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, 'ten_1', 'o', 'O', FALSE, 'plan_1', 'full', 0)`, org)
		h.by = &access.Principal{Kind: access.Session, Tenant: "ten_1", Organization: org, Role: access.Admin, Scopes: access.Every}
		h.ws = testkit.Must(h.workspaces.Provision(t.Context(), h.by, workspace.Spec{Organization: org, Name: "W", Tier: 4}))(t)
		h.Service = h.replica()
		testkit.Must0(t, h.Recover(t.Context()))
		test(t, h)
	})
}

func (h *house) now() time.Time { return time.UnixMilli(h.clock.Load()).UTC() }

func (h *house) pass(d time.Duration) { h.clock.Add(d.Milliseconds()) }

// replica is another process on the same store.
func (h *house) replica() *budget.Service {
	return budget.New(budget.Options{Store: h.store, Workspaces: h.workspaces, Now: h.now, Log: slog.New(slog.DiscardHandler)})
}

func (h *house) set(l budget.Limits) {
	h.t.Helper()
	testkit.Must(h.Set(h.t.Context(), h.by, h.by.Organization, h.ws.ID, l))(h.t)
}

func hourly(cents int64) budget.Limits {
	l := budget.NoLimits
	l[budget.Hourly] = cents
	return l
}

// use makes a call of a price: admitted, settled, ended.
func (h *house) use(s *budget.Service, micros int64) error {
	hold, err := s.Admit(context.Background(), h.by.Organization, h.ws.ID, micros)
	if err != nil {
		return err
	}
	if hold.Reserved() {
		err = h.store.Fast(context.Background(), func(f *db.Fast) error {
			return s.Settle(f, []budget.Spend{{Workspace: h.ws.ID, At: h.now(), Micros: micros, Reserved: true}})
		})
	}
	if err != nil {
		hold.End(0)
		return err
	}
	hold.End(micros)
	return nil
}

func (h *house) spent() int64 {
	h.t.Helper()
	return testkit.Must(h.Get(h.t.Context(), h.by.Organization, h.ws.ID))(h.t).Spent[budget.Hourly]
}

func (h *house) refused(err error, words ...string) {
	h.t.Helper()
	testkit.Fault(h.t, err, "budget.exceeded")
	testkit.Equal(h.t, fault.Of(err).Details["exceeded_periods"], any(words))
}

func TestNeverOvershot(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		services := []*budget.Service{h.Service}
		if h.store.Engine() == db.PostgreSQL {
			services = append(services, h.replica(), h.replica())
		}
		h.set(hourly(100))
		var wg sync.WaitGroup
		var made, refused atomic.Int64
		for i := range 200 {
			wg.Go(func() {
				switch err := h.use(services[i%len(services)], 3*cent); {
				case err == nil:
					made.Add(1)
				case errors.Is(err, budget.ErrExceeded):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		spent := h.spent()
		if spent > 100*cent || spent != made.Load()*3*cent || made.Load()+refused.Load() != 200 {
			t.Fatalf("%d made, %d refused, %d spent", made.Load(), refused.Load(), spent)
		}
		if len(services) == 1 && made.Load() != 33 {
			t.Errorf("%d calls fitted, not 33", made.Load())
		}
		for _, s := range services[1:] { // what replicas hold comes back when they stop
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			testkit.Must0(t, s.Run(ctx))
		}
		for made.Load() < 33 {
			testkit.Must0(t, h.use(h.Service, 3*cent))
			made.Add(1)
		}
		h.refused(h.use(h.Service, 3*cent), "hourly")
	})
}

func TestAdmit(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		t.Run("0 blocks everything, null nothing", func(t *testing.T) {
			testkit.Must0(t, h.use(h.Service, 5*cent))
			h.set(budget.Limits{budget.Unlimited, 0, budget.Unlimited, budget.Unlimited})
			h.refused(h.use(h.Service, cent), "daily")
			h.refused(h.use(h.Service, 0), "daily")
			h.set(budget.NoLimits)
			testkit.Must0(t, h.use(h.Service, cent))
		})
		t.Run("what was spent before there was a budget counts", func(t *testing.T) {
			testkit.Equal(t, h.spent(), int64(6*cent))
			h.set(hourly(10))
			testkit.Must0(t, h.use(h.Service, 4*cent))
			h.refused(h.use(h.Service, cent), "hourly")
		})
		t.Run("all of an organization's are what each is", func(t *testing.T) {
			all := testkit.Must(h.All(t.Context(), h.by.Organization))(t)
			testkit.Equal(t, all, map[string]budget.Budget{h.ws.ID: testkit.Must(h.Get(t.Context(), h.by.Organization, h.ws.ID))(t)})
		})
		t.Run("every period in which too little is left is named", func(t *testing.T) {
			h.set(budget.Limits{10, 20, 10, 11})
			h.refused(h.use(h.Service, cent+1), "hourly", "weekly", "monthly")
		})
		t.Run("a call that was not charged gives its money back", func(t *testing.T) {
			h.set(hourly(13))
			for range 5 {
				hold := testkit.Must(h.Admit(t.Context(), h.by.Organization, h.ws.ID, 3*cent))(t)
				_, err := h.Admit(t.Context(), h.by.Organization, h.ws.ID, cent)
				h.refused(err, "hourly")
				hold.End(0)
				hold.End(0)
			}
			testkit.Must0(t, h.use(h.Service, 3*cent))
		})
		t.Run("a higher ceiling holds at once, and a lower one too", func(t *testing.T) {
			h.set(hourly(14))
			testkit.Must0(t, h.use(h.Service, cent))
			h.set(hourly(20))
			testkit.Must0(t, h.use(h.Service, cent))
			h.set(hourly(15))
			h.refused(h.use(h.Service, cent), "hourly")
		})
		t.Run("the window rolls: spending counts for an hour, and at most a minute more", func(t *testing.T) {
			h.pass(time.Hour)
			h.refused(h.use(h.Service, cent), "hourly")
			h.pass(time.Minute)
			testkit.Must0(t, h.use(h.Service, 15*cent))
			h.refused(h.use(h.Service, cent), "hourly")
		})
		t.Run("a paused workspace takes no call, and one that runs again does", func(t *testing.T) {
			h.pass(2 * time.Hour)
			testkit.Must(h.workspaces.Pause(t.Context(), h.by, h.by.Organization, h.ws.ID, ""))(t)
			testkit.Fault(t, h.use(h.Service, cent), "workspace.paused")
			testkit.Must(h.workspaces.Resume(t.Context(), h.by, h.by.Organization, h.ws.ID))(t)
			testkit.Must0(t, h.use(h.Service, cent))
		})
		t.Run("no more calls at a time than the tier allows", func(t *testing.T) {
			one := int64(1)
			testkit.Must(h.workspaces.Update(t.Context(), h.by, h.by.Organization, h.ws.ID, workspace.Change{Tier: &one}))(t)
			var holds []budget.Hold
			for range 8 {
				holds = append(holds, testkit.Must(h.Admit(t.Context(), h.by.Organization, h.ws.ID, 0))(t))
			}
			testkit.Equal(t, holds[0].Deadline, 30*time.Second)
			_, err := h.Admit(t.Context(), h.by.Organization, h.ws.ID, 0)
			testkit.Fault(t, err, "budget.busy")
			for i := range holds {
				holds[i].End(0)
			}
			testkit.Must0(t, h.use(h.Service, 0))
		})
		t.Run("another organization's workspace is not there", func(t *testing.T) {
			stranger := *h.by
			stranger.Organization = id.New("org")
			_, err := h.Set(t.Context(), &stranger, h.by.Organization, h.ws.ID, hourly(1))
			testkit.Fault(t, err, "workspace.not_found")
			_, err = h.Get(t.Context(), stranger.Organization, h.ws.ID)
			testkit.Fault(t, err, "workspace.not_found")
			member := *h.by
			member.Role = access.Member
			_, err = h.Set(t.Context(), &member, h.by.Organization, h.ws.ID, hourly(1))
			testkit.Fault(t, err, "access.denied")
			_, err = h.Set(t.Context(), h.by, h.by.Organization, h.ws.ID, hourly(-2))
			testkit.Fault(t, err, "budget.limits")
		})
	})
}

func TestChange(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		t.Run("twenty changes at the same time all count, on two replicas", func(t *testing.T) {
			h.set(budget.NoLimits)
			replicas := []*budget.Service{h.replica(), h.replica()}
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					_, err := replicas[i%2].Change(context.Background(), h.by, h.by.Organization, h.ws.ID, func(l budget.Limits) budget.Limits {
						p := budget.Period(i % 4)
						if l[p] == budget.Unlimited {
							l[p] = 0
						}
						l[p] += int64(i/4) + 1
						return l
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			b := testkit.Must(h.replica().Get(t.Context(), h.by.Organization, h.ws.ID))(t)
			testkit.Equal(t, b.Limits, budget.Limits{15, 15, 15, 15})
		})
		t.Run("what makes no sense is refused and changes nothing", func(t *testing.T) {
			_, err := h.replica().Change(t.Context(), h.by, h.by.Organization, h.ws.ID, func(l budget.Limits) budget.Limits { l[0] = -7; return l })
			testkit.Fault(t, err, "budget.limits")
			testkit.Equal(t, testkit.Must(h.replica().Get(t.Context(), h.by.Organization, h.ws.ID))(t).Limits, budget.Limits{15, 15, 15, 15})
		})
	})
}

func TestCrash(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.set(hourly(10))
		testkit.Must0(t, h.use(h.Service, 4*cent))
		testkit.Must(h.Admit(t.Context(), h.by.Organization, h.ws.ID, 3*cent))(t) // in flight when the process dies
		again := h.replica()
		if h.store.Engine() == db.PostgreSQL {
			h.refused(h.use(again, 6*cent), "hourly") // the dead one's lease still counts
			h.pass(time.Minute)
		}
		testkit.Must0(t, again.Recover(t.Context()))
		testkit.Must0(t, h.use(again, 6*cent))
		h.refused(h.use(again, cent), "hourly")
		testkit.Equal(t, h.spent(), int64(10*cent))
		if h.store.Engine() == db.PostgreSQL { // the dead one was only slow: what it settles now is refused
			err := h.store.Fast(t.Context(), func(f *db.Fast) error {
				return h.Settle(f, []budget.Spend{{Workspace: h.ws.ID, At: h.now(), Micros: 3 * cent, Reserved: true}})
			})
			if !errors.Is(err, db.ErrGuard) {
				t.Errorf("settled without a lease: %v", err)
			}
		}
	})
}

func TestNotices(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		h.set(hourly(10))
		notices := func() (list []string) {
			testkit.Must0(t, h.Notice(t.Context()))
			return testkit.Must(db.All(t.Context(), h.store, func(s *string) []any { return []any{s} }, `SELECT details FROM events WHERE action = 'budget.notice' ORDER BY seq`))(t)
		}
		at := func(percent, spent string) string {
			return `{"limitCents":10,"percent":` + percent + `,"period":"hourly","spentCents":` + spent + `}`
		}
		testkit.Must0(t, h.use(h.Service, 4*cent))
		testkit.Equal(t, notices(), []string{})
		testkit.Must0(t, h.use(h.Service, cent))
		testkit.Must0(t, h.use(h.Service, cent))
		testkit.Equal(t, notices(), []string{at("50", "6")})
		testkit.Must0(t, h.use(h.Service, 3*cent))
		testkit.Equal(t, notices(), []string{at("50", "6"), at("80", "9")})
		h.refused(h.use(h.Service, 2*cent), "hourly")
		testkit.Equal(t, notices(), []string{at("50", "6"), at("80", "9"), at("100", "9")})
		h.refused(h.use(h.Service, 2*cent), "hourly")
		testkit.Equal(t, len(notices()), 3)
		h.pass(2 * time.Hour)
		testkit.Must0(t, h.use(h.Service, cent))
		testkit.Equal(t, len(notices()), 3)
		testkit.Must0(t, h.use(h.Service, 5*cent))
		testkit.Equal(t, notices()[3:], []string{at("50", "6")})
	})
}
