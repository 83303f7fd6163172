package flock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// Lock is a lock held on a file.
type Lock struct{ f *os.File }

// Unlock releases the lock. It does not remove the file: another process may
// already wait for it.
func (l *Lock) Unlock() { _ = l.f.Close() }

// Shared waits for a lock that many may hold at once.
func Shared(ctx context.Context, path string) (*Lock, error) {
	return wait(ctx, path, syscall.LOCK_SH)
}

// Exclusive waits for a lock that one holds alone.
func Exclusive(ctx context.Context, path string) (*Lock, error) {
	return wait(ctx, path, syscall.LOCK_EX)
}

// TryExclusive takes the lock if nobody holds it, and returns nil if somebody does.
func TryExclusive(path string) (*Lock, error) {
	return try(path, syscall.LOCK_EX)
}

// wait polls, because a blocking flock cannot be cancelled.
func wait(ctx context.Context, path string, how int) (*Lock, error) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		l, err := try(path, how)
		if l != nil || err != nil {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for the lock %s: %w", path, ctx.Err())
		case <-tick.C:
		}
	}
}

func try(path string, how int) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	switch {
	case err == nil:
		return &Lock{f}, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		return nil, f.Close()
	default:
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
}
