package notes

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"headgate/internal/db"
)

// Note is what is kept of one session.
type Note struct {
	Level         string
	Subscriptions []Subscription // the oldest first
	Ended         bool
}

// Subscription is a resource whose updates a session wants.
type Subscription struct {
	URI       string `json:"uri"`
	Workspace string `json:"workspace"`
	Server    string `json:"server"` // its key in the catalog
}

// Subscribe adds a subscription, in place of one to the same URI.
func (n *Note) Subscribe(s Subscription) {
	n.Unsubscribe(s.URI)
	n.Subscriptions = append(n.Subscriptions, s)
}

// Unsubscribe takes a URI's subscription away.
func (n *Note) Unsubscribe(uri string) {
	n.Subscriptions = slices.DeleteFunc(n.Subscriptions, func(s Subscription) bool { return s.URI == uri })
}

// What OnChange is told: Ended with the Ref of a session that has ended, Set
// with what Elsewhere reads when one has another level or other subscriptions.
const (
	Ended = "mcp_session"
	Set   = "mcp_session_set"
)

// Ref names a session to other replicas.
func Ref(session string) string {
	return hex.EncodeToString(hash(session))
}

func hash(session string) []byte {
	h := sha256.Sum256([]byte(session))
	return h[:]
}

// maxKept bounds the subscriptions of a row. The oldest are forgotten: what is
// forgotten still works until the row is read again.
const maxKept = 64 << 10

// Store keeps notes.
type Store struct {
	store *db.Store
	now   func() time.Time
	name  string // in what it tells other replicas
}

// New returns the notes in a store.
func New(store *db.Store, now func() time.Time) *Store { return &Store{store, now, rand.Text()} }

// Elsewhere returns the Ref in what OnChange was told with Set; ok is false when
// this Store set it, so that there is nothing to be learnt from the row.
func (s *Store) Elsewhere(ref string) (session string, ok bool) {
	session, by, _ := strings.Cut(ref, " ")
	return session, by != s.name
}

type row struct {
	level, subscriptions string
	ended                bool
}

func (r *row) fields() []any { return []any{&r.level, &r.subscriptions, &r.ended} }

func (r row) note() (Note, error) {
	n := Note{Level: r.level, Ended: r.ended}
	if err := json.Unmarshal([]byte(r.subscriptions), &n.Subscriptions); err != nil {
		return Note{}, fmt.Errorf("subscriptions of a session: %w", err)
	}
	return n, nil
}

// Read returns what is kept of a session; the zero Note when nothing is.
func (s *Store) Read(ctx context.Context, session string) (Note, error) {
	r, err := db.One(ctx, s.store, (*row).fields, `SELECT level, subscriptions, ended FROM mcp_sessions WHERE hash = $1`, hash(session))
	if errors.Is(err, db.ErrNone) {
		return Note{}, nil
	}
	if err != nil {
		return Note{}, err
	}
	return r.note()
}

// Change changes what is kept of a session, until a time. Of a session that is
// over nothing else is kept. change may run more than once.
func (s *Store) Change(ctx context.Context, session string, until time.Time, change func(*Note)) error {
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		// The row is made or locked first, so that two changes come one after the other.
		r, err := db.One(ctx, tx, (*row).fields, `INSERT INTO mcp_sessions (hash, level, subscriptions, ended, expires_at) VALUES ($1, '', '[]', $2, $3)
			ON CONFLICT (hash) DO UPDATE SET expires_at = excluded.expires_at RETURNING level, subscriptions, ended`, hash(session), false, until.UnixMilli())
		if err != nil {
			return err
		}
		n, err := r.note()
		if err != nil {
			return err
		}
		if n.Ended {
			return nil
		}
		change(&n)
		if n.Ended {
			n = Note{Ended: true}
		}
		list, err := kept(n.Subscriptions)
		if err != nil {
			return err
		}
		switch {
		case n.Ended:
			tx.Changed(Ended, Ref(session))
		case n.Level != r.level || list != r.subscriptions:
			tx.Changed(Set, Ref(session)+" "+s.name)
		default:
			return nil
		}
		_, err = db.Exec(ctx, tx, `UPDATE mcp_sessions SET level = $2, subscriptions = $3, ended = $4 WHERE hash = $1`, hash(session), n.Level, list, n.Ended)
		return err
	})
}

// kept writes subscriptions down, the newest as far as they fit.
func kept(list []Subscription) (string, error) {
	parts, size := make([]json.RawMessage, 0, len(list)), len("[]")
	for _, s := range slices.Backward(list) {
		part, err := json.Marshal(s)
		if err != nil {
			return "", err
		}
		if size+len(part)+1 > maxKept {
			continue
		}
		size += len(part) + 1
		parts = append(parts, part)
	}
	slices.Reverse(parts)
	text, err := json.Marshal(parts)
	return string(text), err
}

// expireStep bounds one statement.
const expireStep = 1000

// Expire removes some of what nobody can ask for any more, and returns how much
// it was.
func (s *Store) Expire(ctx context.Context) (int64, error) {
	return db.Exec(ctx, s.store, `DELETE FROM mcp_sessions WHERE hash IN (SELECT hash FROM mcp_sessions WHERE expires_at <= $1 LIMIT $2)`, s.now().UnixMilli(), int64(expireStep))
}
