package stdio

import (
	"context"
	"time"
)

// Outbox is an outbox with numbered calls.
type Outbox struct{ box *outbox }

// NewOutbox returns one that writes with write.
func NewOutbox(write func([]byte) (int, error)) *Outbox { return &Outbox{newOutbox(write)} }

// Put takes a caller's message.
func (o *Outbox) Put(ctx context.Context, number uint64, text string) error {
	return o.box.put(ctx, time.Time{}, &call{id: number}, func(dst []byte) []byte { return append(dst, text...) })
}

// Add takes a message of our own.
func (o *Outbox) Add(text string) error { return o.box.add([]byte(text)) }

// Run writes, and hands over the numbers of what was not.
func (o *Outbox) Run(unsent func(number uint64)) { o.box.run(func(k *call) { unsent(k.id) }) }

// Close ends Run.
func (o *Outbox) Close() { o.box.close(errEnded) }

// Waits reports whether anything waits to be read.
func (o *Outbox) Waits() bool {
	_, some := o.box.waits()
	return some
}
