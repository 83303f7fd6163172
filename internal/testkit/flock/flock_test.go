package flock_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"headgate/internal/testkit"
	"headgate/internal/testkit/flock"
)

func TestLock(t *testing.T) {
	t.Run("an exclusive lock keeps everybody else out until it is released", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "lock")
		first := testkit.Must(flock.Exclusive(t.Context(), path))(t)
		if second := testkit.Must(flock.TryExclusive(path))(t); second != nil {
			t.Fatal("two processes would hold the exclusive lock")
		}
		first.Unlock()
		third := testkit.Must(flock.TryExclusive(path))(t)
		if third == nil {
			t.Fatal("the released lock cannot be taken")
		}
		third.Unlock()
	})

	t.Run("shared locks go together and keep an exclusive one out", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "lock")
		a := testkit.Must(flock.Shared(t.Context(), path))(t)
		defer a.Unlock()
		b := testkit.Must(flock.Shared(t.Context(), path))(t)
		defer b.Unlock()
		if l := testkit.Must(flock.TryExclusive(path))(t); l != nil {
			t.Fatal("an exclusive lock beside shared ones")
		}
	})

	t.Run("waiting ends with the context", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "lock")
		held := testkit.Must(flock.Exclusive(t.Context(), path))(t)
		defer held.Unlock()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := flock.Shared(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("err = %v, want the deadline", err)
		}
	})
}
