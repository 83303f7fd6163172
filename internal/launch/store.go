package launch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"headgate/internal/access"
	"headgate/internal/activity"
	"headgate/internal/db"
)

const rowPrefix = "catalog:"

func rowName(entry string) string { return rowPrefix + entry }

// load returns an entry that the operator added.
func (s *Service) load(ctx context.Context, name string) (*stored, error) {
	text, err := db.Value[[]byte](ctx, s.store, `SELECT value FROM installation WHERE name=$1`, rowName(name))
	if errors.Is(err, db.ErrNone) {
		return nil, ErrNoEntry
	}
	if err != nil {
		return nil, err
	}
	return decode(text)
}

func decode(text []byte) (*stored, error) {
	e := &stored{Entry: &Entry{}}
	if err := json.Unmarshal(text, e); err != nil {
		return nil, fmt.Errorf("stored catalog entry: %w", err)
	}
	return e, e.Entry.check()
}

type row struct {
	name  string
	value []byte
}

// added returns the entries that the operator added, by name.
func (s *Service) added(ctx context.Context) (map[string]*stored, error) {
	rows, err := db.All(ctx, s.store, func(r *row) []any { return []any{&r.name, &r.value} }, `SELECT name, value FROM installation WHERE name LIKE 'catalog:%'`)
	if err != nil {
		return nil, err
	}
	all := map[string]*stored{}
	for _, r := range rows {
		if all[strings.TrimPrefix(r.name, rowPrefix)], err = decode(r.value); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// save stores an entry, with its event.
func (s *Service) save(ctx context.Context, by *access.Principal, e *stored) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	details := map[string]any{"program": e.Entry.Program}
	if p := e.Entry.Package; p != nil {
		details = map[string]any{"package": p.NPM + "@" + p.Version, "integrity": p.Integrity}
	}
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `INSERT INTO installation (name, value, updated_at) VALUES ($1,$2,$3)
			ON CONFLICT (name) DO NOTHING`, rowName(e.Entry.Name), text, s.now().UnixMilli())
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrTaken
		}
		return activity.Record(ctx, tx, by, activity.Event{Action: "catalog.add", TargetType: "entry", TargetID: e.Entry.Name, Details: details})
	})
}

// makeTemp makes a work directory for a try-out.
func makeTemp(parent string) (string, error) {
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return "", err
	}
	return os.MkdirTemp(parent, trialPrefix)
}
