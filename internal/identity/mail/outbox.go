package mail

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"headgate/internal/identity"
)

const (
	outboxLife = 7 * 24 * time.Hour
	outboxMost = 1000
	suffix     = ".eml"
)

// Outbox writes messages as files. One process writes to a directory.
type Outbox struct {
	dir  string
	from string
	now  func() time.Time
	mu   sync.Mutex
}

// NewOutbox makes the directory and returns an outbox in it.
func NewOutbox(dir, from string, now func() time.Time) (*Outbox, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the outbox: %w", err)
	}
	if _, err := build(from, identity.Message{To: "probe@example.com"}, now()); err != nil {
		return nil, err
	}
	return &Outbox{dir: dir, from: from, now: now}, nil
}

// Send implements identity.Mailer.
func (b *Outbox) Send(_ context.Context, m identity.Message) error {
	msg, err := build(b.from, m, b.now())
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.tidy(); err != nil {
		return err
	}
	f, err := os.CreateTemp(b.dir, ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write mail: %w", err)
	}
	_, err = msg.WriteTo(f)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		name := b.now().UTC().Format("20060102T150405.000Z") + "-" + strings.ToLower(rand.Text()[:8]) + suffix
		err = os.Rename(f.Name(), filepath.Join(b.dir, name))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write mail: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// tidy deletes what is old, and the oldest of too many: names sort by time.
func (b *Outbox) tidy() error {
	entries, err := os.ReadDir(b.dir)
	if err != nil {
		return fmt.Errorf("read the outbox: %w", err)
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool { return !strings.HasSuffix(e.Name(), suffix) })
	oldest := b.now().Add(-outboxLife).UTC().Format("20060102T150405.000Z")
	for i, e := range entries {
		if e.Name() < oldest || len(entries)-i >= outboxMost {
			if err := os.Remove(filepath.Join(b.dir, e.Name())); err != nil {
				return fmt.Errorf("tidy the outbox: %w", err)
			}
		}
	}
	return nil
}
