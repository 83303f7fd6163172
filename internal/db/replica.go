package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"headgate/internal/id"
)

// Replicas over one PostgreSQL tell each other what has changed (Tx.Changed),
// so that nobody goes on with what he remembers:
//
//   - A change travels as a notification of its own transaction. Tx returns
//     once every live replica has confirmed that it was announced there.
//   - A replica is live while its link, one connection, is in the database's
//     list of sessions. It may trust its memory for leaseFor after the link has
//     answered (Current); one that does not answer or confirm is cut off.
//   - Whoever links anew reads from the table changes what it may have missed.
const (
	leaseFor    = 3 * time.Second
	keepChanges = 24 * time.Hour
	overlap     = time.Minute // transactions commit later than they say

	linkName   = "headgate-replica:" // and the replica's id: what a link calls itself
	tellsOf    = "headgate_changes"
	confirms   = "headgate_confirms"
	maxPayload = 7000 // PostgreSQL takes 8,000 bytes
)

// links is a store's part in the company of replicas.
type links struct {
	config  *pgx.ConnConfig // nil on SQLite
	id      string
	lease   time.Duration
	joined  atomic.Bool
	current atomic.Int64 // until when this replica's memory may be trusted, in time since epoch
	epoch   time.Time

	mu      sync.Mutex
	serial  int64
	waiting map[int64]*confirmation
}

func newLinks(config *pgx.ConnConfig, lease time.Duration) *links {
	if lease <= 0 {
		lease = leaseFor
	}
	return &links{config: config, id: id.New("rep"), lease: lease, epoch: time.Now(), waiting: map[int64]*confirmation{}}
}

// news is what a notification carries.
type news struct {
	Replica string      `json:"r"`
	Serial  int64       `json:"n"`
	Changes [][2]string `json:"c,omitempty"`
}

// confirmation gathers how many of a transaction's parts each replica has
// confirmed.
type confirmation struct {
	parts int
	by    map[string]int
	heard chan struct{}
}

// Join makes this process one of several: from now on what it remembers may be
// trusted only while Replicate, which must run, holds its link. Nothing changes
// on SQLite.
func (s *Store) Join() {
	if s.links.config != nil {
		s.links.joined.Store(true)
	}
}

// Current reports whether what this process remembers may be trusted: on SQLite,
// and before Join, always.
func (s *Store) Current() bool {
	l := s.links
	return !l.joined.Load() || time.Since(l.epoch) < time.Duration(l.current.Load())
}

// Replicate joins and keeps this replica's link until ctx ends. On SQLite, where
// no other process has the store, it only waits.
func (s *Store) Replicate(ctx context.Context, log *slog.Logger) error {
	l := s.links
	if l.config == nil {
		<-ctx.Done()
		return nil
	}
	s.Join()
	heard := time.Now() // what was read before is as old as this
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		linked, err := s.link(ctx, heard)
		l.current.Store(0)
		if ctx.Err() != nil {
			return nil
		}
		if !linked.IsZero() {
			heard, wait = linked, 100*time.Millisecond
		}
		if time.Since(heard) > keepChanges-overlap {
			return errors.New("this replica was away from the others for a day and cannot know what changed; start it again")
		}
		log.Warn("the link to the other replicas is broken; credentials are refused until it is back", "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// link holds one link until it breaks and returns when it answered last, zero
// when it never stood. since is when changes were heard last.
func (s *Store) link(ctx context.Context, since time.Time) (heard time.Time, err error) {
	l := s.links
	config := l.config.Copy()
	config.RuntimeParams["application_name"] = linkName + l.id
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return heard, err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(end)
	}()
	sent := time.Now()
	if _, err := conn.Exec(ctx, `LISTEN `+tellsOf+`; LISTEN `+confirms); err != nil {
		return heard, err
	}
	if err := s.catchUp(ctx, conn, time.Since(since)); err != nil {
		return heard, err
	}
	for {
		heard = sent
		l.current.Store(int64(sent.Add(l.lease).Sub(l.epoch)))
		for time.Since(sent) < l.lease/3 {
			if _, err := s.listen(ctx, conn, sent.Add(l.lease/3)); err != nil {
				return heard, err
			}
		}
		sent = time.Now()
		if err := s.ping(ctx, conn); err != nil {
			return heard, err
		}
	}
}

// ping asks whether the link stands, and handles what came before the answer:
// only then does the answer say that nothing was missed.
func (s *Store) ping(ctx context.Context, conn *pgx.Conn) error {
	wait, cancel := context.WithTimeout(ctx, s.links.lease)
	defer cancel()
	if err := conn.Ping(wait); err != nil {
		return err
	}
	for {
		if heard, err := s.listen(ctx, conn, time.Now()); !heard || err != nil {
			return err
		}
	}
}

// catchUp announces what was told while this replica did not listen.
func (s *Store) catchUp(ctx context.Context, conn *pgx.Conn, away time.Duration) error {
	rows, err := conn.Query(ctx, `SELECT body FROM changes WHERE at >= `+databaseNow+` - $1`, (away + overlap).Milliseconds())
	if err != nil {
		return err
	}
	bodies, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, body := range bodies {
		var n news
		if json.Unmarshal([]byte(body), &n) == nil && n.Replica != s.links.id {
			s.announce(n.list())
		}
	}
	_, err = conn.Exec(ctx, `DELETE FROM changes WHERE at < `+databaseNow+` - $1`, keepChanges.Milliseconds())
	return err
}

// databaseNow is the clock that all replicas share.
const databaseNow = `CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)`

// listen handles the next notification and reports whether there was one before
// the deadline.
func (s *Store) listen(ctx context.Context, conn *pgx.Conn, until time.Time) (bool, error) {
	wait, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	n, err := conn.WaitForNotification(wait)
	if err != nil {
		if wait.Err() != nil && ctx.Err() == nil && !conn.IsClosed() {
			return false, nil
		}
		return false, err
	}
	var heard news
	if err := json.Unmarshal([]byte(n.Payload), &heard); err != nil {
		return false, fmt.Errorf("read a notification: %w", err)
	}
	switch {
	case n.Channel == confirms:
		s.links.confirmed(heard)
	case heard.Replica != s.links.id:
		s.announce(heard.list())
		// The answer names whom it is for by the serial's owner.
		answer, _ := json.Marshal(news{Replica: s.links.id, Serial: heard.Serial, Changes: [][2]string{{heard.Replica, ""}}})
		_, err = conn.Exec(ctx, `SELECT pg_notify($1, $2)`, confirms, string(answer))
	}
	return true, err
}

func (n news) list() []change {
	list := make([]change, len(n.Changes))
	for i, c := range n.Changes {
		list[i] = change{c[0], c[1]}
	}
	return list
}

// confirmed notes an answer to what this replica told.
func (l *links) confirmed(n news) {
	if len(n.Changes) != 1 || n.Changes[0][0] != l.id {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c := l.waiting[n.Serial]; c != nil {
		c.by[n.Replica]++
		select {
		case c.heard <- struct{}{}:
		default:
		}
	}
}

// tell writes a transaction's changes for the other replicas, as part of it.
// settled waits until they know; it is called after the commit. dropped forgets.
func (s *Store) tell(ctx context.Context, tx *Tx) (settled, dropped func(), err error) {
	l := s.links
	if l.config == nil || len(tx.changes) == 0 {
		return func() {}, func() {}, nil
	}
	l.mu.Lock()
	l.serial++
	list := parts(tx.changes)
	serial, c := l.serial, &confirmation{parts: len(list), by: map[string]int{}, heard: make(chan struct{}, 1)}
	l.waiting[serial] = c
	l.mu.Unlock()
	dropped = func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.waiting, serial)
	}
	for _, part := range list {
		body, err := json.Marshal(news{l.id, serial, part})
		if err == nil {
			_, err = tx.exec(ctx, `WITH kept AS (INSERT INTO changes (at, body) VALUES (`+databaseNow+`, $1)) SELECT pg_notify('`+tellsOf+`', $1)`, []any{string(body)})
		}
		if err != nil {
			dropped()
			return nil, nil, fmt.Errorf("tell the other replicas: %w", translate(err))
		}
	}
	return func() {
		if l.joined.Load() {
			s.awaitPeers(context.WithoutCancel(ctx), c)
		}
		dropped()
	}, dropped, nil
}

// parts cuts changes into what one notification can carry, each once.
func parts(changes []change) [][][2]string {
	var list [][][2]string
	var part [][2]string
	size, seen := 0, map[change]bool{}
	for _, c := range changes {
		if seen[c] {
			continue
		}
		seen[c] = true
		if n := len(c.kind) + len(c.ref) + 16; size+n > maxPayload && len(part) > 0 {
			list, part, size = append(list, part), nil, n
		} else {
			size += n
		}
		part = append(part, [2]string{c.kind, c.ref})
	}
	return append(list, part)
}

// awaitPeers returns when every live replica has confirmed. One that does not
// within a lease is cut off: its link ends, and with it, a lease later at the
// latest, its trust in what it remembers.
func (s *Store) awaitPeers(ctx context.Context, c *confirmation) {
	l := s.links
	ctx, cancel := context.WithTimeout(ctx, 2*l.lease)
	defer cancel()
	late := time.NewTimer(l.lease)
	defer late.Stop()
	peers, err := All(ctx, s, func(name *string) []any { return []any{name} },
		`SELECT application_name FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '`+linkName+`%' AND application_name <> $1`, linkName+l.id)
	for err == nil {
		peers = slices.DeleteFunc(peers, func(name string) bool { return l.has(c, strings.TrimPrefix(name, linkName)) })
		if len(peers) == 0 {
			return
		}
		select {
		case <-c.heard:
			continue
		case <-late.C:
		}
		_, _ = All(ctx, s, func(ok *bool) []any { return []any{ok} },
			`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = ANY($1)`, peers)
		break
	}
	<-ctx.Done() // nobody can say who knows: until the last lease has run out
}

func (l *links) has(c *confirmation, replica string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.by[replica] >= c.parts
}
