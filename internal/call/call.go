package call

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/budget"
	"headgate/internal/credit"
	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/mcp"
	"headgate/internal/quota"
	"headgate/internal/upstream"
)

// Terms are what an organization's plan and policy say about its calls.
type Terms struct {
	Rate       quota.Limit
	PerDay     int64  // calls a day, or quota.Unlimited
	BodyPolicy string // off, metadata, full
}

// Options are what a Service needs.
type Options struct {
	Credits   *credit.Service
	Committer *Committer
	Bodies    *activity.Bodies // nil: none are kept
	Upstream  upstream.Exchanger
	Limiter   *quota.Limiter[string]
	Daily     *quota.Service
	Budgets   *budget.Service // what a workspace may do and spend; nil: anything
	Terms     func(ctx context.Context, organization string) (Terms, error)
	Value     int64 // what a credit is worth, in micro-USD
	Now       func() time.Time
	Log       *slog.Logger
}

// Service makes calls.
type Service struct {
	Options
	records sync.Pool
}

// New returns the service.
func New(o Options) *Service {
	return &Service{Options: o, records: sync.Pool{New: func() any { return new(Record) }}}
}

// Request is one call to make.
type Request struct {
	upstream.Request                    // what to send where, and as whom
	CallID           id.Raw             // of the log line; log_ and req_ show it
	Door             string             // gateway, platform, diagnostics, …
	Via              upstream.Exchanger // how to send it; nil: as it is
	Counted          bool               // the door has counted it against the rate already
	Secrets          []string           // argument names the tool's schema marks secret
	IP               string
	UserAgent        string
}

// permission returns what a method needs, and whether it is a call at all.
func permission(method string) (access.Permission, bool) {
	switch method {
	case mcp.MethodToolsCall:
		return access.Call, true
	case mcp.MethodResourcesRead, mcp.MethodPromptsGet:
		return access.Read, true
	}
	return "", false
}

// ErrNotACall means that a method is neither a tool call nor a read.
var ErrNotACall = fault.New(fault.Internal, "call.method", "This method is no call.")

// Do makes one call and returns the server's answer, which the caller must
// Release. A fault means that there is none: the call was refused, or the
// server failed; either way nothing was charged, but for upstream.ErrRejected.
// The context ends the call; what the server has answered by then is recorded
// all the same.
func (s *Service) Do(ctx context.Context, r *Request, sink upstream.Sink) (*upstream.Answer, error) {
	perm, ok := permission(r.Method)
	if !ok {
		return nil, ErrNotACall
	}
	rec, start := s.begin(r)
	defer s.end(rec)

	// May they, how fast, how often.
	if err := access.Require(r.By, perm); err != nil {
		return nil, s.refuse(rec, start, err)
	}
	terms, err := s.Terms(ctx, r.By.Organization)
	if err != nil {
		return nil, err
	}
	if !r.Counted {
		if err := s.Limiter.Take(r.By.Metered(), terms.Rate).Err(); err != nil {
			return nil, err // no line: a flood must not become a flood of lines
		}
	}
	if err := s.Committer.Ready(); err != nil {
		return nil, err
	}
	if err := s.admit(ctx, r, rec); err != nil {
		if errors.Is(err, budget.ErrBusy) {
			return nil, err // as for the rate
		}
		return nil, s.refuse(rec, start, err)
	}
	if err := s.Daily.Count(ctx, r.By.Organization, terms.PerDay); err != nil {
		return nil, s.refuse(rec, start, err)
	}

	// Hold the price.
	if err := s.hold(ctx, r, rec); err != nil {
		return nil, s.refuse(rec, start, err)
	}

	// Call, and judge who pays.
	answer, err := s.exchange(ctx, r, sink)
	verdict := judge(r.Server, answer, err)
	rec.conclude(verdict, answer, s.Now().Sub(start), s.Value)

	// Settle or void, with the line, on disk; only then answer.
	if cerr := s.Committer.Commit(rec); cerr != nil {
		answer.Release()
		if err == nil {
			err = cerr
		}
		return nil, err
	}
	if terms.BodyPolicy == "full" && s.Bodies != nil {
		s.keep(r, answer)
	}
	return answer, err
}

// begin fills in what is known of a call before it is judged.
func (s *Service) begin(r *Request) (*Record, time.Time) {
	start := s.Now()
	rec := s.records.Get().(*Record)
	rec.Settlement = credit.Settlement{CallID: r.CallID, Service: r.Server.Service, By: r.By.ID, At: start}
	rec.Line = activity.Line{Organization: r.By.Organization, ID: r.CallID, Workspace: r.Server.Workspace, Server: r.Server.ID, Service: r.Server.Service,
		Principal: r.By.ID, User: r.By.User, Door: r.Door, Operation: r.Method, Name: clip(r.Name, 256),
		RequestBytes: len(r.Body), IP: r.IP, UserAgent: clip(r.UserAgent, 256), CreatedAt: start}
	return rec, start
}

func (s *Service) end(rec *Record) {
	rec.Budget.End(0) // of a call that was never recorded
	*rec = Record{}
	s.records.Put(rec)
}

// price is what the call costs when it is charged.
func (r *Request) price() int64 {
	if r.Method == mcp.MethodToolsCall {
		return r.Server.Price(r.Name)
	}
	return r.Server.ReadPrice
}

// admit asks the workspace's status, tier and budget, and keeps the call within
// its tier's deadline.
func (s *Service) admit(ctx context.Context, r *Request, rec *Record) (err error) {
	if s.Budgets == nil {
		return nil
	}
	if rec.Budget, err = s.Budgets.Admit(ctx, r.By.Organization, r.Server.Workspace, r.price()*s.Value); err != nil {
		return err
	}
	limit := r.Timeout
	switch {
	case limit > 0:
	case r.Method == mcp.MethodToolsCall:
		limit = r.Server.TimeoutOf(r.Name)
	default:
		limit = r.Server.TimeoutOf("")
	}
	if limit > rec.Budget.Deadline {
		r.Timeout = rec.Budget.Deadline
	}
	return nil
}

// hold finds who pays and sets the price aside.
func (s *Service) hold(ctx context.Context, r *Request, rec *Record) (err error) {
	price := r.price()
	account, personal := r.By.Account, r.By.Account != ""
	if !personal {
		if account, err = s.Credits.IDOf(ctx, r.By.Organization, ""); err != nil {
			return err
		}
	}
	rec.Settlement.Account, rec.Settlement.Price = account, price
	rec.Line.Account, rec.Line.Personal, rec.Line.Cost = account, personal, price
	rec.Settlement.Hold, err = s.Credits.Hold(ctx, account, price)
	return err
}

func (s *Service) exchange(ctx context.Context, r *Request, sink upstream.Sink) (*upstream.Answer, error) {
	via := r.Via
	if via == nil {
		via = s.Upstream
	}
	if !r.Server.Enabled {
		return nil, ErrDisabled
	}
	return via.Exchange(ctx, &r.Request, sink)
}

// refuse writes the line of a call that was not made and returns why.
func (s *Service) refuse(rec *Record, start time.Time, err error) error {
	rec.Settlement.Account = "" // nothing to settle
	rec.conclude(refusal(err), nil, s.Now().Sub(start), s.Value)
	if cerr := s.Committer.Commit(rec); cerr != nil {
		s.Log.Error("the line of a refused call was not written", "error", cerr)
	}
	return err
}

// keep hands the bodies to the log store, after the answer.
func (s *Service) keep(r *Request, answer *upstream.Answer) {
	var response []byte
	if answer != nil {
		response = answer.Body
	}
	s.Bodies.Add(r.By.Organization, r.CallID, r.Body, response, r.Secrets)
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 { // not inside a character
		n--
	}
	return s[:n]
}
