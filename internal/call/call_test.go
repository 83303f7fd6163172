package call_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/call"
	"headgate/internal/catalog"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/mcp"
	"headgate/internal/quota"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
)

// answering is an upstream that gives one answer, or one error.
type answering struct {
	body  string
	err   error
	calls int
	then  func()
}

func (a *answering) Exchange(_ context.Context, _ *upstream.Request, _ upstream.Sink) (*upstream.Answer, error) {
	a.calls++
	if a.then != nil {
		a.then()
	}
	if a.err != nil {
		return nil, a.err
	}
	var e mcp.Envelope
	if err := mcp.ScanReply([]byte(a.body), &e, mcp.Limits{}); err != nil {
		return nil, err
	}
	return upstream.NewAnswer([]byte(a.body), e, 200, nil), nil
}

type silent struct{}

func (silent) Event([]byte, *mcp.Envelope) error { return nil }

type house struct {
	store   *db.Store
	credits *credit.Service
	calls   *call.Service
	up      *answering
	perDay  int64
	bodies  *activity.Bodies
	account credit.Account
	by      *access.Principal
	server  *catalog.Server
}

func newHouse(t *testing.T, s *db.Store, credits int64) *house {
	h := &house{store: s, up: &answering{}, perDay: quota.Unlimited}
	log := slog.New(slog.DiscardHandler)
	h.credits = credit.New(s, time.Now)
	h.bodies = activity.NewBodies(s, "", log)
	h.account = account(t, s, h.credits, credits)
	h.by = &access.Principal{Kind: access.PersonalKey, ID: "key_a", Organization: h.account.Organization, Role: access.Developer, Scopes: access.Every}
	h.server = &catalog.Server{ID: "srv_a", Organization: h.account.Organization, Workspace: "ws_a", Service: "svc_a", Enabled: true, DefaultPrice: 3, ChargeRejected: true}
	h.calls = call.New(call.Options{Credits: h.credits, Committer: call.NewCommitter(s, h.credits, log), Bodies: h.bodies, Upstream: h.up,
		Limiter: quota.NewLimiter[string](1000, time.Now), Daily: quota.New(s, time.Now, log), Value: 10_000, Now: time.Now, Log: log,
		Terms: func(context.Context, string) (call.Terms, error) {
			return call.Terms{Rate: quota.Limit{PerMinute: 600, Burst: 100}, PerDay: h.perDay, BodyPolicy: "full"}, nil
		}})
	return h
}

func (h *house) do(t *testing.T, method string) (*call.Request, *upstream.Answer, error) {
	r := &call.Request{CallID: id.NewRaw(), Door: "gateway", Request: upstream.Request{Server: h.server, By: h.by, Method: method, Name: "echo",
		ID: []byte("1"), Body: []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"password":"hunter2","q":1}}}`)}}
	a, err := h.calls.Do(t.Context(), r, silent{})
	return r, a, err
}

var lines = cmp.AllowUnexported(line{})

type line struct {
	success, backend bool
	code             string
	cost, charged    int64
	micros           int64
	settled          int64
}

func (h *house) line(t *testing.T, r *call.Request) line {
	t.Helper()
	return testkit.Must(db.One(t.Context(), h.store, func(l *line) []any {
		return []any{&l.success, &l.backend, (*db.Text)(&l.code), &l.cost, &l.charged, &l.micros, &l.settled}
	}, `SELECT success, is_backend_error, error_code, credits_cost, credits_charged, cost_micros,
		(SELECT COUNT(*) FROM entries e WHERE e.call_id = c.id) FROM calls c WHERE organization_id = $1 AND id = $2`, h.account.Organization, r.CallID[:]))(t)
}

func TestWhoPays(t *testing.T) {
	const ok = `{"jsonrpc":"2.0","id":1,"result":{"content":[]}}`
	unreachable := fault.New(fault.Upstream, "upstream.unreachable", "x")
	slow := fault.New(fault.Timeout, "upstream.timeout", "x")
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		for _, c := range []struct {
			name     string
			body     string
			err      error
			generous bool // the service does not charge refusals
			want     line
		}{
			{"success is charged", ok, nil, false, line{true, false, "", 3, 3, 30_000, 1}},
			{"a tool's error is charged", `{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}`, nil, false, line{false, false, "tool_error", 3, 3, 30_000, 1}},
			{"unless the service says otherwise", `{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true}}`, nil, true, line{false, false, "tool_error", 3, 0, 0, 1}},
			{"a refusal with a JSON-RPC error is charged", `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}`, nil, false, line{false, false, "upstream_rejected", 3, 3, 30_000, 1}},
			{"a refusal with 4xx is charged", "", upstream.ErrRejected, false, line{false, false, "upstream_rejected", 3, 3, 30_000, 1}},
			{"a server's internal error is not", `{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"no"}}`, nil, false, line{false, true, "backend_error", 3, 0, 0, 0}},
			{"unreachable is not", "", unreachable, false, line{false, true, "upstream.unreachable", 3, 0, 0, 0}},
			{"a timeout is not", "", slow, false, line{false, true, "upstream.timeout", 3, 0, 0, 0}},
			{"our own failure is not", "", errors.New("boom"), false, line{false, true, "internal", 3, 0, 0, 0}},
			{"a caller that left before the answer is not", "", context.Canceled, false, line{false, false, "cancelled", 3, 0, 0, 0}},
			{"a question back is not", `{"jsonrpc":"2.0","id":1,"result":{"resultType":"input_required","requestState":"x"}}`, nil, false, line{true, false, "input_required", 3, 0, 0, 0}},
		} {
			t.Run(c.name, func(t *testing.T) {
				h := newHouse(t, s, 100)
				h.up.body, h.up.err, h.server.ChargeRejected = c.body, c.err, !c.generous
				r, a, err := h.do(t, mcp.MethodToolsCall)
				if (a == nil) == (err == nil) || c.err != nil && err == nil {
					t.Fatalf("answer %v, error %v", a, err)
				}
				testkit.Equal(t, h.line(t, r), c.want, lines)
				got := testkit.Must(h.credits.Get(t.Context(), h.account.ID))(t)
				if got.Balance() != 100-c.want.charged || got.TotalCalls != 1 {
					t.Fatalf("account %+v", got)
				}
				if hold, err := h.credits.Hold(t.Context(), h.account.ID, got.Balance()); err != nil {
					t.Fatalf("a hold is left: %v", err)
				} else {
					hold.Release()
				}
			})
		}
	})
}

func TestDo(t *testing.T) {
	const ok = `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hi"}],"apiKey":"hunter2"}}`
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		t.Run("nothing is called that cannot be paid, and the refusal is in the log", func(t *testing.T) {
			h := newHouse(t, s, 2)
			h.up.body = ok
			r, _, err := h.do(t, mcp.MethodToolsCall)
			testkit.Fault(t, err, "credit.insufficient")
			f := fault.Of(err)
			if h.up.calls != 0 || f.Details["price"] != int64(3) || f.Details["balance"] != int64(2) {
				t.Fatalf("%d calls, details %v", h.up.calls, f.Details)
			}
			testkit.Equal(t, h.line(t, r), line{false, false, "credit.insufficient", 3, 0, 0, 0}, lines)
		})
		t.Run("nor without the right, or over the plan's day", func(t *testing.T) {
			h := newHouse(t, s, 100)
			h.by.Role = access.Viewer
			r, _, err := h.do(t, mcp.MethodToolsCall)
			testkit.Fault(t, err, "access.denied")
			testkit.Equal(t, h.line(t, r), line{false, false, "access.denied", 0, 0, 0, 0}, lines)
			h.by.Role = access.Developer
			h.perDay = 0
			_, _, err = h.do(t, mcp.MethodToolsCall)
			testkit.Fault(t, err, "quota.requests_per_day")
			if h.up.calls != 0 {
				t.Fatal("the upstream was called")
			}
		})
		t.Run("a read costs the service's read price, nothing by default", func(t *testing.T) {
			h := newHouse(t, s, 1)
			h.up.body = ok
			r, a, err := h.do(t, mcp.MethodResourcesRead)
			testkit.Must0(t, err)
			a.Release()
			testkit.Equal(t, h.line(t, r), line{true, false, "", 0, 0, 0, 1}, lines)
		})
		t.Run("bodies are kept without secrets", func(t *testing.T) {
			h := newHouse(t, s, 10)
			h.up.body = ok
			r, _, err := h.do(t, mcp.MethodToolsCall)
			testkit.Must0(t, err)
			h.bodies.Flush(t.Context())
			req, resp, found, err := h.bodies.Body(t.Context(), h.account.Organization, r.CallID)
			if err != nil || !found {
				t.Fatalf("found %v, %v", found, err)
			}
			testkit.Equal(t, string(req), `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"password":"[redacted]","q":1}}}`)
			testkit.Equal(t, string(resp), `{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"hi"}],"apiKey":"[redacted]"}}`)
		})
		t.Run("when the store refuses writes nothing more is called", func(t *testing.T) {
			h := newHouse(t, s, 100)
			h.up.body = ok
			// The store breaks while the upstream works: the answer is not given.
			h.up.then = func() { testkit.Must(db.Exec(t.Context(), s, `ALTER TABLE calls RENAME TO calls_away`))(t) }
			_, a, err := h.do(t, mcp.MethodToolsCall)
			testkit.Fault(t, err, "call.store")
			if a != nil {
				t.Fatal("an answer without a record")
			}
			h.up.then = nil
			testkit.Must(db.Exec(t.Context(), s, `ALTER TABLE calls_away RENAME TO calls`))(t)
			if got := testkit.Must(h.credits.Get(t.Context(), h.account.ID))(t); got.Balance() != 100 {
				t.Fatalf("balance %d after a call without a record", got.Balance())
			}
			_, a, err = h.do(t, mcp.MethodToolsCall)
			testkit.Must0(t, err)
			a.Release()
		})
	})
}
