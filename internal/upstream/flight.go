package upstream

import (
	"context"
	"sync"
	"time"
)

// flight runs one task at a time for all who wait for its result. The task
// belongs to the hub: whoever stops waiting does not stop it for the others.
type flight[T any] struct {
	mu  sync.Mutex
	run *running[T]
}

type running[T any] struct {
	done  chan struct{}
	value T
	err   error
}

// do joins the task under way, or starts it.
func (f *flight[T]) do(ctx context.Context, h *Hub, limit time.Duration, task func(ctx context.Context) (T, error)) (T, error) {
	r := f.start(h, limit, task)
	select {
	case <-r.done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, cut(ctx, false)
	}
}

// start starts the task unless it is under way.
func (f *flight[T]) start(h *Hub, limit time.Duration, task func(ctx context.Context) (T, error)) *running[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.run != nil {
		return f.run
	}
	r := &running[T]{done: make(chan struct{})}
	f.run = r
	ok := h.spawn(func() {
		ctx, cancel := context.WithTimeout(h.ctx, limit)
		defer cancel()
		r.value, r.err = task(ctx)
		f.mu.Lock()
		f.run = nil
		f.mu.Unlock()
		close(r.done)
	})
	if !ok {
		r.err, f.run = ErrClosed, nil
		close(r.done)
	}
	return r
}

// cut is the fault of a context that ended a wait. sent says that a request was
// under way.
func cut(ctx context.Context, sent bool) error {
	switch {
	case context.Cause(ctx) != context.Canceled:
		return ErrTimeout.Because(context.DeadlineExceeded)
	case sent:
		return ErrLost.Because(context.Canceled)
	}
	return ErrUnreachable.Because(context.Canceled)
}
