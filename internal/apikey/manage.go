package apikey

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/seal"
)

// Filter selects keys for List. One of Organization, User and Account must be
// given, unless the kinds are operator keys alone.
type Filter struct {
	Organization string
	User         string
	Workspace    string
	Account      string
	Kinds        []access.Kind
	Limit        int64 // 0 means 100
	Offset       int64
}

// List returns keys that are not revoked, newest first, and how many there
// are in all. Expired ones and those a rotation retires are among them, so
// that their owner sees when they were last used.
func (s *Service) List(ctx context.Context, f Filter) (keys []Key, total int64, err error) {
	if f.Organization == "" && f.User == "" && f.Account == "" && !(len(f.Kinds) == 1 && f.Kinds[0] == access.OperatorKey) {
		return nil, 0, errors.New("list keys: whose?")
	}
	where := `FROM keys WHERE revoked_at IS NULL AND ($1 = '' OR organization_id = $1) AND ($2 = '' OR user_id = $2) AND ($3 = '' OR workspace_id = $3) AND ($4 = '' OR account_id = $4)`
	args := []any{f.Organization, f.User, f.Workspace, f.Account}
	if len(f.Kinds) > 0 {
		marks := make([]string, len(f.Kinds))
		for i, k := range f.Kinds {
			args = append(args, k.String())
			marks[i] = fmt.Sprintf("$%d", len(args))
		}
		where += ` AND kind IN (` + strings.Join(marks, ", ") + `)`
	}
	if total, err = db.Value[int64](ctx, s.store, `SELECT COUNT(*) `+where, args...); err != nil {
		return nil, 0, fmt.Errorf("count keys: %w", err)
	}
	if f.Limit <= 0 {
		f.Limit = 100
	}
	page := fmt.Sprintf(` ORDER BY created_at DESC, id DESC LIMIT $%d OFFSET $%d`, len(args)+1, len(args)+2)
	if keys, err = db.All(ctx, s.store, (*Key).fields, `SELECT `+columns+` `+where+page, append(args, f.Limit, f.Offset)...); err != nil {
		return nil, 0, fmt.Errorf("list keys: %w", err)
	}
	for i := range keys {
		s.refine(&keys[i])
	}
	return keys, total, nil
}

// Get returns a key that by may manage; other keys do not exist.
func (s *Service) Get(ctx context.Context, by *access.Principal, key string) (Key, error) {
	k, err := managed(ctx, s.store, by, key)
	if err == nil {
		s.refine(&k)
	}
	return k, err
}

// refine adds the last use that is not written yet.
func (s *Service) refine(k *Key) {
	if used := s.cache.lastUse(k.ID); used.After(k.LastUsedAt) {
		k.LastUsedAt = used
	}
}

// managed returns a key that by may manage: one's own, one of an organization
// whose keys one manages, or any for the operator.
func managed(ctx context.Context, q db.Querier, by *access.Principal, key string) (Key, error) {
	key, ok := id.Parse("key", key)
	if !ok || by == nil {
		return Key{}, ErrNotFound
	}
	switch by.Kind {
	case access.Session, access.OrganizationKey, access.OperatorKey, access.System:
	default:
		return Key{}, access.ErrNeedSession
	}
	k, err := get(ctx, q, key)
	if err != nil {
		return Key{}, err
	}
	switch {
	case by.Can(access.Operate):
		return k, nil
	case by.Kind == access.Session && k.User != "" && k.User == by.User:
		return k, nil
	case k.Organization == "" || k.Organization != by.Organization || !by.Can(access.OrgKeysManage):
		return Key{}, ErrNotFound
	}
	return k, nil
}

// Revoke ends a key. When it returns every later use is refused, and the
// key's streams have been told. Revoking again changes nothing.
func (s *Service) Revoke(ctx context.Context, by *access.Principal, key string) error {
	_, err := s.revokeAll(ctx, by, key, func(_ context.Context, _ *db.Tx, k Key) ([]Key, error) { return []Key{k}, nil })
	return err
}

// RevokeTree ends a key, every key that was made with it, those that were made
// with these, and so on: what to do when an organization key has leaked. It
// returns how many it ended.
func (s *Service) RevokeTree(ctx context.Context, by *access.Principal, key string) (int, error) {
	return s.revokeAll(ctx, by, key, func(ctx context.Context, tx *db.Tx, k Key) ([]Key, error) {
		return db.All(ctx, tx, (*Key).fields, `WITH RECURSIVE tree (key_id) AS (
			SELECT id FROM keys WHERE id = $1
			UNION SELECT k.id FROM keys k JOIN tree t ON k.created_by = t.key_id WHERE COALESCE(k.organization_id, '') = $2)
			SELECT `+columns+` FROM keys WHERE id IN (SELECT key_id FROM tree) ORDER BY created_at, id`, k.ID, k.Organization)
	})
}

func (s *Service) revokeAll(ctx context.Context, by *access.Principal, key string, which func(context.Context, *db.Tx, Key) ([]Key, error)) (int, error) {
	var ended []string
	err := s.store.Tx(ctx, func(tx *db.Tx) error {
		ended = ended[:0]
		k, err := managed(ctx, tx, by, key)
		if err != nil {
			return err
		}
		keys, err := which(ctx, tx, k)
		if err != nil {
			return err
		}
		for _, k := range keys {
			if !k.RevokedAt.IsZero() {
				continue
			}
			if err := s.revoke(ctx, tx, by, k); err != nil {
				return err
			}
			ended = append(ended, k.ID)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, k := range ended {
		s.cache.kill(k)
	}
	return len(ended), nil
}

// revoke ends one key in the caller's transaction.
func (s *Service) revoke(ctx context.Context, tx *db.Tx, by *access.Principal, k Key) error {
	n, err := db.Exec(ctx, tx, `UPDATE keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL`, k.ID, s.now().UnixMilli())
	if err != nil || n == 0 {
		return err
	}
	tx.Changed("key", k.ID)
	return s.record(ctx, tx, by, k, "key.revoke", map[string]any{"kind": k.Kind.String(), "name": k.Name})
}

// Rotate makes a successor with the same owner, name, scopes and length of
// life, and lets the old key live on for grace, to the second; with no grace
// it ends at once. A person's key is rotated by that person alone, because the
// text of the new one is returned; an account's key is replaced instead.
func (s *Service) Rotate(ctx context.Context, by *access.Principal, key string, grace time.Duration) (next Key, value seal.Value, err error) {
	if grace < 0 || grace > maxGrace {
		return Key{}, seal.Value{}, ErrGrace
	}
	var old Key
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		if old, err = managed(ctx, tx, by, key); err != nil {
			return err
		}
		next, value, err = s.rotate(ctx, tx, by, old, grace)
		return err
	})
	if err != nil {
		return Key{}, seal.Value{}, err
	}
	if grace == 0 {
		s.cache.kill(old.ID)
	}
	return next, value, nil
}

func (s *Service) rotate(ctx context.Context, tx *db.Tx, by *access.Principal, old Key, grace time.Duration) (Key, seal.Value, error) {
	now := s.now()
	ended := !old.ExpiresAt.IsZero() && !now.Before(old.ExpiresAt)
	if !old.RevokedAt.IsZero() || old.ReplacedBy != "" || ended || old.Kind == access.AccountKey {
		return Key{}, seal.Value{}, ErrRotated
	}
	spec := Spec{Kind: old.Kind, Organization: old.Organization, Workspace: old.Workspace, User: old.User, Name: old.Name, Scopes: old.Scopes}
	if !old.ExpiresAt.IsZero() {
		spec.ExpiresIn = old.ExpiresAt.Sub(old.CreatedAt)
	}
	next, value, err := s.issue(ctx, tx, by, spec, old.ID)
	if err != nil {
		return Key{}, seal.Value{}, err
	}
	end := now.Add(grace)
	if !old.ExpiresAt.IsZero() && old.ExpiresAt.Before(end) {
		end = old.ExpiresAt
	}
	// The guard makes one of two parallel rotations fail.
	n, err := db.Exec(ctx, tx, `UPDATE keys SET replaced_by = $2, expires_at = $3 WHERE id = $1 AND replaced_by IS NULL AND revoked_at IS NULL`, old.ID, next.ID, end.UnixMilli())
	if err != nil {
		return Key{}, seal.Value{}, err
	}
	if n == 0 {
		return Key{}, seal.Value{}, ErrRotated
	}
	if grace == 0 {
		return next, value, s.revoke(ctx, tx, by, old)
	}
	tx.Changed("key", old.ID)
	return next, value, s.record(ctx, tx, by, old, "key.rotate", map[string]any{"successor": next.ID, "until": end.UTC().Format(time.RFC3339)})
}
