package shelf

import (
	"context"
	"crypto/sha256"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/upstream"
)

const (
	keep  = 14 * 24 * time.Hour // that nobody asked for it
	fresh = 24 * time.Hour      // that seen_at may be behind
)

// Shelf keeps lists. It implements upstream.Shelf.
type Shelf struct {
	store *db.Store
	now   func() time.Time
}

// New returns the lists in a store.
func New(store *db.Store, now func() time.Time) *Shelf { return &Shelf{store, now} }

type row struct {
	kind, seen int64
	items      []byte
	private    bool
}

func (r *row) fields() []any { return []any{&r.kind, &r.items, &r.private, &r.seen} }

func hash(identity string) []byte {
	h := sha256.Sum256([]byte(identity))
	return h[:]
}

// Take returns what is kept of a server's lists as these credentials see them.
func (s *Shelf) Take(ctx context.Context, server *catalog.Server, identity string) ([]upstream.Shelved, error) {
	rows, err := db.All(ctx, s.store, (*row).fields, `SELECT kind, items, private, seen_at FROM server_lists
		WHERE organization_id = $1 AND server_id = $2 AND identity = $3 AND version = $4 ORDER BY kind`, server.Organization, server.ID, hash(identity), server.Version)
	if err != nil {
		return nil, err
	}
	var list []upstream.Shelved
	old := false
	for _, r := range rows {
		list = append(list, upstream.Shelved{Kind: upstream.ListKind(r.kind), Items: r.items, Private: r.private})
		old = old || s.now().UnixMilli()-r.seen > fresh.Milliseconds()
	}
	if old {
		_, err = db.Exec(ctx, s.store, `UPDATE server_lists SET seen_at = $4 WHERE organization_id = $1 AND server_id = $2 AND identity = $3`,
			server.Organization, server.ID, hash(identity), s.now().UnixMilli())
	}
	return list, err
}

// Put keeps a list in place of the one before.
func (s *Shelf) Put(ctx context.Context, server *catalog.Server, identity string, l upstream.Shelved) error {
	_, err := db.Exec(ctx, s.store, `INSERT INTO server_lists (organization_id, server_id, identity, kind, version, items, private, seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
		ON CONFLICT (organization_id, server_id, identity, kind) DO UPDATE SET version = excluded.version, items = excluded.items, private = excluded.private, seen_at = excluded.seen_at`,
		server.Organization, server.ID, hash(identity), int64(l.Kind), server.Version, l.Items, l.Private, s.now().UnixMilli())
	return err
}

// expireStep bounds one statement.
const expireStep = 1000

// Expire removes some of what nobody has asked for lately, and returns how much
// it was.
func (s *Shelf) Expire(ctx context.Context) (int64, error) {
	return db.Exec(ctx, s.store, `DELETE FROM server_lists WHERE (organization_id, server_id, identity, kind) IN
		(SELECT organization_id, server_id, identity, kind FROM server_lists WHERE seen_at <= $1 LIMIT $2)`, s.now().Add(-keep).UnixMilli(), int64(expireStep))
}
