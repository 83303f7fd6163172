package budget

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/workspace"
)

// Options are what a Service needs.
type Options struct {
	Store      *db.Store
	Workspaces *workspace.Service
	Now        func() time.Time
	Log        *slog.Logger
}

// Service admits the calls of one replica.
type Service struct {
	Options
	replica string
	entries sync.Map // workspace to *entry
	count   atomic.Int64
}

// maxEntries bounds the workspaces in memory; those without a budget, a call
// or anything to write go first.
const maxEntries = 20_000

// New returns the service. On SQLite, where this process is the only one, call
// Recover before the first Admit.
func New(o Options) *Service {
	s := &Service{Options: o, replica: id.New("rep")}
	if o.Store.Engine() == db.SQLite {
		s.replica = "single"
	}
	o.Store.OnChange(s.changed)
	return s
}

// entry is what this replica knows of one workspace.
type entry struct {
	organization, workspace string

	guard sync.Mutex // of terms and epoch
	epoch uint64
	terms atomic.Pointer[terms]

	running atomic.Int64 // calls at this moment
	free    atomic.Int64 // leased and not held, micro-USD
	used    atomic.Int64 // unix milliseconds of the last admission
	loose   atomic.Int64 // spent without a budget and not yet written
	doubt   atomic.Bool  // the budget has changed since its money was leased
	dirty   atomic.Bool  // something was spent since notices were last considered
	refused atomic.Uint32
	mu      sync.Mutex // one trip to the store at a time
	gone    bool       // forgotten; look the workspace up anew
}

// terms are what holds for a workspace until something changes.
type terms struct {
	usable   error
	calls    int64
	deadline time.Duration
	limits   Limits
}

// changed is told of every committed change of the store.
func (s *Service) changed(kind, ref string) {
	if kind != "workspace" && kind != "budget" {
		return
	}
	if v, ok := s.entries.Load(ref); ok {
		e := v.(*entry)
		e.guard.Lock()
		e.epoch++
		e.terms.Store(nil)
		if kind == "budget" {
			e.doubt.Store(true)
		}
		e.guard.Unlock()
	}
}

func (s *Service) entry(organization, ws string) *entry {
	if v, ok := s.entries.Load(ws); ok {
		return v.(*entry)
	}
	v, loaded := s.entries.LoadOrStore(ws, &entry{organization: organization, workspace: ws})
	if !loaded && s.count.Add(1) > maxEntries {
		s.evict()
	}
	return v.(*entry)
}

// evict forgets workspaces that nothing depends on.
func (s *Service) evict() {
	idle := s.Now().Add(-time.Minute).UnixMilli()
	s.entries.Range(func(k, v any) bool {
		e := v.(*entry)
		if e.mu.TryLock() {
			if e.running.Load() == 0 && e.free.Load() == 0 && e.loose.Load() == 0 && e.used.Load() < idle {
				e.gone = true
				s.entries.Delete(k)
				s.count.Add(-1)
			}
			e.mu.Unlock()
		}
		return s.count.Load() > maxEntries*3/4
	})
}

// of returns what holds for the workspace now.
func (s *Service) of(ctx context.Context, e *entry) (*terms, error) {
	for {
		if t := e.terms.Load(); t != nil {
			return t, nil
		}
		e.guard.Lock()
		epoch := e.epoch
		e.guard.Unlock()
		t, err := s.read(ctx, e)
		if err != nil {
			return nil, err
		}
		e.guard.Lock()
		still := e.epoch == epoch
		if still {
			e.terms.Store(t)
		}
		e.guard.Unlock()
		if still {
			return t, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

func (s *Service) read(ctx context.Context, e *entry) (*terms, error) {
	w, err := s.Workspaces.Get(ctx, e.organization, e.workspace)
	if err != nil {
		return nil, err
	}
	limits, err := limitsOf(ctx, s.Store, w.ID)
	if err != nil {
		return nil, ErrUnknown.Because(err)
	}
	t := &terms{usable: w.Usable(), calls: 1 << 40, deadline: 1 << 62, limits: limits}
	if preset, err := workspace.PresetOf(w.Tier); err == nil {
		t.calls, t.deadline = preset.Calls, preset.Deadline
	}
	return t, nil
}

// Hold is one admitted call and the money set aside for it. End ends it, once;
// the zero Hold is nothing.
type Hold struct {
	entry    *entry
	amount   int64
	Deadline time.Duration // the call may take no longer
}

// Admit lets one call of a workspace happen that costs at most micros, or says
// why not.
func (s *Service) Admit(ctx context.Context, organization, ws string, micros int64) (Hold, error) {
	for {
		e := s.entry(organization, ws)
		t, err := s.of(ctx, e)
		if err != nil {
			return Hold{}, err
		}
		if t.usable != nil {
			return Hold{}, t.usable
		}
		e.used.Store(s.Now().UnixMilli())
		if e.running.Add(1) > t.calls {
			e.running.Add(-1)
			return Hold{}, ErrBusy.With("limit", t.calls)
		}
		h := Hold{entry: e, Deadline: t.deadline}
		if e.doubt.CompareAndSwap(true, false) {
			if err := s.giveBack(ctx, e, nil); err != nil {
				e.doubt.Store(true)
				e.running.Add(-1)
				return Hold{}, ErrUnknown.Because(err)
			}
		}
		if !t.limits.bound() {
			return h, nil
		}
		h.amount = max(micros, 1) // what is free still needs a budget that is not used up
		again, err := s.take(ctx, e, h.amount)
		if err == nil && !again {
			return h, nil
		}
		e.running.Add(-1)
		if err != nil {
			return Hold{}, err
		}
	}
}

// Running returns how many calls of a workspace this replica makes right now.
func (s *Service) Running(ws string) int64 {
	if v, ok := s.entries.Load(ws); ok {
		return v.(*entry).running.Load()
	}
	return 0
}

// Reserved reports whether money was set aside, so that the settlement must
// move it.
func (h *Hold) Reserved() bool { return h.amount > 0 }

// End ends the hold of a call that has cost so much. What was set aside beyond
// that is free again. Safe on a zero Hold and when called twice.
func (h *Hold) End(micros int64) {
	e := h.entry
	if e == nil {
		return
	}
	h.entry = nil
	e.running.Add(-1)
	if h.amount == 0 {
		if micros > 0 {
			e.loose.Add(micros)
		}
		return
	}
	e.free.Add(h.amount - micros)
	if micros > 0 {
		e.dirty.Store(true)
	}
}

func (e *entry) take(n int64) bool {
	for {
		free := e.free.Load()
		if free < n {
			return false
		}
		if e.free.CompareAndSwap(free, free-n) {
			return true
		}
	}
}
