package call_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/budget"
	"headgate/internal/call"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/journal"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
	"headgate/internal/workspace"
)

// budgeted gives the house a workspace with a budget.
func (h *house) budgeted(t *testing.T, cents int64) (*budget.Service, *workspace.Service, workspace.Workspace) {
	t.Helper()
	admin := &access.Principal{Kind: access.System, Organization: h.account.Organization}
	workspaces := workspace.New(h.store, time.Now)
	b := budget.New(budget.Options{Store: h.store, Workspaces: workspaces, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	w := testkit.Must(workspaces.Provision(t.Context(), admin, workspace.Spec{Organization: h.account.Organization, Name: "W", Tier: 4}))(t)
	limits := budget.NoLimits
	limits[budget.Daily] = cents
	testkit.Must(b.Set(t.Context(), admin, w.Organization, w.ID, limits))(t)
	h.server.Workspace, h.calls.Budgets = w.ID, b
	h.calls.Committer.Budgeted(b)
	return b, workspaces, w
}

// echoing answers every call, many at a time.
type echoing struct{ calls atomic.Int64 }

func (e *echoing) Exchange(context.Context, *upstream.Request, upstream.Sink) (*upstream.Answer, error) {
	e.calls.Add(1)
	const body = `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`
	var env mcp.Envelope
	if err := mcp.ScanReply([]byte(body), &env, mcp.Limits{}); err != nil {
		return nil, err
	}
	return upstream.NewAnswer([]byte(body), env, 200, nil), nil
}

func TestBudget(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		t.Run("200 parallel calls never overshoot it, and what it refused is in the log", func(t *testing.T) {
			h := newHouse(t, s, 10_000)
			b, _, w := h.budgeted(t, 100) // a call costs three credits of a cent each
			up := &echoing{}
			h.calls.Upstream = up
			h.by.Scopes = access.Every
			var wg sync.WaitGroup
			var made, refused atomic.Int64
			for range 200 {
				wg.Go(func() {
					r := &call.Request{CallID: id.NewRaw(), Counted: true, Request: upstream.Request{Server: h.server, By: h.by, Method: mcp.MethodToolsCall, Name: "echo"}}
					a, err := h.calls.Do(context.Background(), r, silent{})
					switch {
					case err == nil:
						a.Release()
						made.Add(1)
					case errors.Is(err, budget.ErrExceeded):
						refused.Add(1)
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			spent := testkit.Must(b.Get(t.Context(), w.Organization, w.ID))(t).Spent[budget.Daily]
			logged := testkit.Must(db.Value[int64](t.Context(), s, `SELECT COUNT(*) FROM calls WHERE workspace_id = $1 AND error_code = 'budget.exceeded' AND status_code = 402 AND credits_charged = 0`, w.ID))(t)
			if made.Load() != 33 || up.calls.Load() != 33 || spent != 99*budget.MicrosPerCent || logged != refused.Load() || logged != 167 {
				t.Fatalf("%d made, %d at the upstream, %d refused, %d logged, %d spent", made.Load(), up.calls.Load(), refused.Load(), logged, spent)
			}
		})
		t.Run("a paused workspace's call is refused, logged and not charged", func(t *testing.T) {
			h := newHouse(t, s, 100)
			_, workspaces, w := h.budgeted(t, 100)
			testkit.Must(workspaces.Pause(t.Context(), &access.Principal{Kind: access.System}, w.Organization, w.ID, "cleaning"))(t)
			r, _, err := h.do(t, mcp.MethodToolsCall)
			testkit.Fault(t, err, "workspace.paused")
			testkit.Equal(t, h.line(t, r), line{false, false, "workspace.paused", 0, 0, 0, 0}, lines)
			if h.up.calls != 0 {
				t.Error("the upstream was called")
			}
		})
		t.Run("a call that failed costs no budget", func(t *testing.T) {
			h := newHouse(t, s, 100)
			b, _, w := h.budgeted(t, 3)
			h.up.err = upstream.ErrFailed
			for range 3 {
				_, _, err := h.do(t, mcp.MethodToolsCall)
				testkit.Fault(t, err, "upstream.failed")
			}
			h.up.err, h.up.body = nil, `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`
			_, a, err := h.do(t, mcp.MethodToolsCall)
			testkit.Must0(t, err)
			a.Release()
			testkit.Equal(t, testkit.Must(b.Get(t.Context(), w.Organization, w.ID))(t).Remaining(budget.Daily), int64(0))
		})
	})
}

// A crash loses rows that were only in the journal, not what they say.
func TestBudgetAfterACrash(t *testing.T) {
	path := testkit.SQLitePath(t)
	s := testkit.Must(db.Open(t.Context(), path, db.Options{}))(t)
	h := newHouse(t, s, 100)
	_, _, w := h.budgeted(t, 6)
	dir, jid := t.TempDir(), journal.ID{}
	_, _ = rand.Read(jid[:])
	testkit.Must(h.calls.Committer.Journalled(t.Context(), dir, jid))(t)
	h.up.body = `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`
	_, a, err := h.do(t, mcp.MethodToolsCall)
	testkit.Must0(t, err)
	a.Release()
	// The process dies here, before rows are made.
	testkit.Must0(t, h.calls.Committer.Close())
	testkit.Must0(t, s.Close())
	s = testkit.Must(db.Open(t.Context(), path, db.Options{}))(t)
	defer s.Close()
	log := slog.New(slog.DiscardHandler)
	credits := credit.New(s, time.Now)
	after := call.NewCommitter(s, credits, log)
	again := budget.New(budget.Options{Store: s, Workspaces: workspace.New(s, time.Now), Now: time.Now, Log: log})
	after.Budgeted(again)
	testkit.Equal(t, testkit.Must(after.Journalled(t.Context(), dir, jid))(t), 1)
	testkit.Must0(t, again.Recover(t.Context()))
	testkit.Equal(t, testkit.Must(again.Get(t.Context(), w.Organization, w.ID))(t).Spent[budget.Daily], int64(3*budget.MicrosPerCent))
	_, err = again.Admit(t.Context(), w.Organization, w.ID, 4*budget.MicrosPerCent)
	testkit.Fault(t, err, "budget.exceeded")
	hold := testkit.Must(again.Admit(t.Context(), w.Organization, w.ID, 3*budget.MicrosPerCent))(t)
	hold.End(0)
	testkit.Must0(t, after.Close())
}
