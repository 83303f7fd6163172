package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/apikey"
	"headgate/internal/app"
	"headgate/internal/call"
	"headgate/internal/credit"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/settings"
	"headgate/internal/tenancy"
)

const (
	keyCheck     = "key check"
	ledgerSQLite = "ledger, SQLite"
	ledgerPG     = "ledger, PostgreSQL"

	people        = 100 // with an account and keys each
	keysOfEach    = 20
	ledgerCallers = 256
)

// inside is a Headgate in this process, for what cannot be seen from outside.
type inside struct {
	*app.App
	organization string
	tenant       string
	people       []string
	accounts     []string
	stop         func() error
}

// inside starts one as headgate serve does, with people in it.
func (b *bench) inside(name, database string) (*inside, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	s, err := settings.Load("", func(string) string { return "" },
		map[string]string{"listen": addr, "data": filepath.Join(b.dir, name), "database": database, "log-level": "error"})
	if err != nil {
		return nil, err
	}
	a, err := app.Open(b.ctx, s, "bench", slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	in := &inside{App: a, stop: func() error {
		cancel()
		return errors.Join(<-ended, a.Close())
	}}
	if err := in.populate(b.ctx); err != nil {
		_ = in.stop()
		return nil, err
	}
	return in, nil
}

// populate adds people, each with a credit account.
func (in *inside) populate(ctx context.Context) error {
	var err error
	if in.organization, err = db.Value[string](ctx, in.Store, `SELECT id FROM organizations WHERE slug = 'home'`); err != nil {
		return err
	}
	if in.tenant, err = db.Value[string](ctx, in.Store, `SELECT tenant_id FROM organizations WHERE id = $1`, in.organization); err != nil {
		return err
	}
	return in.Store.Tx(ctx, func(tx *db.Tx) error {
		for i := range people {
			user := id.New("user")
			if _, err := db.Exec(ctx, tx, `INSERT INTO users (id, pool, email, email_verified_at, first_name, last_name, created_at) VALUES ($1, 'platform', $2, $3, 'A', 'B', $3)`,
				user, fmt.Sprintf("p%d@bench.test", i), time.Now().UnixMilli()); err != nil {
				return err
			}
			if err := in.Tenancy.AddMember(ctx, tx, in.by(), tenancy.Membership{Organization: in.organization, User: user, Role: access.Developer}); err != nil {
				return err
			}
			account, err := in.Credits.Open(ctx, tx, credit.Spec{Organization: in.organization, User: user, Purchased: 1_000_000_000, Tier: tenancy.FreePlan})
			if err != nil {
				return err
			}
			in.people, in.accounts = append(in.people, user), append(in.accounts, account.ID)
		}
		return nil
	})
}

// by is Headgate itself.
func (in *inside) by() *access.Principal {
	return &access.Principal{Kind: access.System, ID: "bench", Organization: in.organization, Tenant: in.tenant, Role: access.Owner, Scopes: access.Every}
}

// measureKeys measures how long it takes to know a key that was used before,
// among two thousand, on two processors at once.
func measureKeys(b *bench) error {
	if b.full == nil {
		return nil
	}
	in, err := b.inside("inside-keys", "")
	if err != nil {
		return err
	}
	return errors.Join(b.keys(in), in.stop())
}

func (b *bench) keys(in *inside) error {
	each := keysOfEach
	if b.quick {
		each /= 2
	}
	from := netip.MustParseAddr("192.0.2.1")
	keys := map[string]string{} // text to id
	for _, user := range in.people {
		if err := in.Store.Tx(b.ctx, func(tx *db.Tx) error {
			for range each {
				k, text, err := in.APIKeys.Issue(b.ctx, tx, in.by(), apikey.Spec{Kind: access.PersonalKey, Organization: in.organization, User: user, Name: "bench",
					Scopes: access.ScopesOf(access.Developer)})
				if err != nil {
					return err
				}
				keys[text.Reveal()] = k.ID
			}
			return nil
		}); err != nil {
			return err
		}
	}
	for text := range keys {
		if _, err := in.APIKeys.Authenticate(b.ctx, text, from); err != nil {
			return err
		}
	}
	for range b.rounds {
		var mu sync.Mutex
		var times []time.Duration
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				mine := make([]time.Duration, 0, len(keys))
				for text, want := range keys { // in an order of its own
					start := time.Now()
					p, err := in.APIKeys.Authenticate(b.ctx, text, from)
					mine = append(mine, time.Since(start))
					if err != nil || p.ID != want {
						b.wrong.mixed.Add(1)
					}
				}
				mu.Lock()
				times = append(times, mine...)
				mu.Unlock()
			})
		}
		wg.Wait()
		slices.Sort(times)
		b.values[keyCheck] = append(b.values[keyCheck], times[len(times)*99/100].Seconds()*1000)
	}
	return nil
}

// ledger measures settlements: a price held, then settled with its line, by
// many callers at once. A round ends when all of it is rows of the ledger. At
// last the books are checked.
func ledger(name string) func(b *bench) error {
	return func(b *bench) error {
		if b.full == nil {
			return nil
		}
		database := ""
		if name == ledgerPG {
			if b.cluster == nil {
				return nil
			}
			var err error
			if database, err = freshDatabase(b.ctx, b.cluster, "ledger"); err != nil {
				return err
			}
		}
		in, err := b.inside(name, database)
		if err != nil {
			return err
		}
		return errors.Join(b.ledger(name, in), in.stop())
	}
}

func (b *bench) ledger(name string, in *inside) error {
	total := int64(0)
	for i := range b.rounds + 1 {
		used := ownCPU()
		n, took, err := b.settle(in)
		if err != nil {
			return err
		}
		total += n
		if i > 0 { // the first fills caches and leases
			b.values[name] = append(b.values[name], float64(n)/took.Seconds())
			b.values[name+" CPU"] = append(b.values[name+" CPU"], (ownCPU()-used).Seconds()*1000/max(1, float64(n)))
		}
	}
	return b.audit(in, total)
}

// audit checks that the books hold every settlement, and nothing else.
func (b *bench) audit(in *inside, settled int64) error {
	r, err := in.Credits.Reconcile(b.ctx, time.Now().Add(-time.Hour))
	if err != nil {
		return err
	}
	if !r.OK || r.Calls != settled || r.Entries != settled || r.Credits != settled {
		b.wrong.lost.Add(max(1, settled-r.Entries))
	}
	return nil
}

// settle has callers settle for a round and returns how many settlements are
// in the ledger for it, and after how long.
func (b *bench) settle(in *inside) (int64, time.Duration, error) {
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	start := time.Now()
	for i := range ledgerCallers {
		account := in.accounts[i%len(in.accounts)]
		wg.Go(func() {
			for time.Since(start) < b.round && b.ctx.Err() == nil {
				hold, err := in.Credits.Hold(b.ctx, account, 1)
				if err == nil {
					err = in.Committer.Commit(in.record(account, hold))
				}
				if err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, 0, *err
	}
	// Reading an account waits for the rows.
	if _, err := in.Credits.Get(b.ctx, in.accounts[0]); err != nil {
		return 0, 0, err
	}
	return done.Load(), time.Since(start), nil
}

// record is a call of a tool for one credit.
func (in *inside) record(account string, hold credit.Hold) *call.Record {
	raw, now := id.NewRaw(), time.Now()
	return &call.Record{
		Settlement: credit.Settlement{Account: account, Hold: hold, Charge: 1, Settled: true, CallID: raw, Service: "svc_bench", Price: 1, By: "key_bench", At: now},
		Line: activity.Line{Organization: in.organization, ID: raw, Account: account, Personal: true, Workspace: "ws_bench", Server: "srv_bench", Service: "svc_bench",
			Principal: "key_bench", Door: "gateway", Operation: "tools/call", Name: "echo", Success: true, StatusCode: 200, Cost: 1, Charged: 1,
			RequestBytes: 200, ResponseBytes: 100, IP: "192.0.2.1", UserAgent: "bench", CreatedAt: now},
	}
}
