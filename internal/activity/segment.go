package activity

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"headgate/internal/db"
)

const (
	segmentPrefix = "bodies-"
	segmentLayout = "2006010215" // an hour each, UTC
)

// append writes chunks to the hour's segment in one go and notes where they are.
func (b *Bodies) append(chunks []chunk) error {
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return fmt.Errorf("make the directory of bodies: %w", err)
	}
	name := segmentPrefix + time.Now().UTC().Format(segmentLayout)
	f, err := os.OpenFile(filepath.Join(b.dir, name), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the segment of bodies: %w", err)
	}
	at, err := f.Seek(0, io.SeekEnd)
	for i := range chunks {
		if err != nil {
			break
		}
		c := &chunks[i]
		c.segment, c.start = name, at
		at += c.size
		_, err = f.Write(c.data)
		c.data = nil
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write bodies: %w", err)
	}
	return nil
}

// load returns a chunk's data from the row or its segment; a segment that is
// gone is a body that is gone.
func (b *Bodies) load(c *chunk) ([]byte, error) {
	if c.segment == "" {
		return c.data, nil
	}
	f, err := os.Open(filepath.Join(b.dir, filepath.Base(c.segment)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read bodies: %w", err)
	}
	defer f.Close()
	data := make([]byte, c.size)
	if n, err := f.ReadAt(data, c.start); err != nil && n < len(data) {
		return data[:n], nil // the last moments before a crash may be cut
	}
	return data, nil
}

// Expire removes bodies older than the given moment and returns how many
// chunks went, at most a thousand at a time so that writers get their turn.
func (b *Bodies) Expire(ctx context.Context, before time.Time) (int64, error) {
	n, err := db.Exec(ctx, b.store, `DELETE FROM body_chunks WHERE (organization_id, first_id, last_id) IN
		(SELECT organization_id, first_id, last_id FROM body_chunks WHERE created_at < $1 LIMIT 1000)`, before.UnixMilli())
	if err != nil || b.dir == "" {
		return n, err
	}
	names, err := filepath.Glob(filepath.Join(b.dir, segmentPrefix+"*"))
	if err != nil {
		return n, err
	}
	for _, path := range names {
		hour, perr := time.Parse(segmentLayout, strings.TrimPrefix(filepath.Base(path), segmentPrefix))
		if perr == nil && hour.Add(time.Hour).Before(before) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return n, err
}
