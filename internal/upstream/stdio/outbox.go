package stdio

import (
	"context"
	"runtime"
	"sync"
	"time"
)

const (
	outboxFull = 256 << 10 // bytes that wait; callers with more wait, too
	outboxOwed = 1 << 20   // bytes that wait of those who cannot wait
	outboxKept = 32 << 10  // a buffer larger than this is not kept
)

// outbox holds what is on its way to a child. Callers put messages in and go
// on; one goroutine writes all that have come together, so that many calls cost
// the child one wake-up and us one system call, and a child that does not read
// holds up nobody but those who wait for it.
type outbox struct {
	write func(lines []byte) (n int, err error)
	news  chan struct{} // of one: something was put in, or the end has come

	mu    sync.Mutex
	lines []byte        // whole lines that wait
	posts []post        // the same ones' ends and senders
	owed  int           // bytes of them that were added
	room  chan struct{} // closed when what waits is taken; nil where nobody waits for that
	since time.Time     // when the last of it was read; zero when nothing waits
	err   error         // why nothing is written any more
}

// post is one line of an outbox.
type post struct {
	end  int   // in lines, behind its line break
	call *call // whose it is; nil for what has no answer
}

func newOutbox(write func([]byte) (int, error)) *outbox {
	return &outbox{write: write, news: make(chan struct{}, 1)}
}

// put takes a caller's message, which appendTo adds to what waits, once there
// is room. An error means that the child gets nothing of it.
func (b *outbox) put(ctx context.Context, deadline time.Time, k *call, appendTo func(dst []byte) []byte) error {
	b.mu.Lock()
	for b.err == nil && len(b.lines) > outboxFull {
		if b.room == nil {
			b.room = make(chan struct{})
		}
		room := b.room
		b.mu.Unlock()
		if err := wait(ctx, deadline, room); err != nil {
			return err
		}
		b.mu.Lock()
	}
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	b.push(k, appendTo)
	return nil
}

func wait(ctx context.Context, deadline time.Time, c <-chan struct{}) error {
	ctx, cancel := until(ctx, deadline)
	defer cancel()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// add takes a message of our own and never waits: the child's reader has some,
// and a child that writes while it is written to would wait for it for ever.
func (b *outbox) add(message []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.err != nil:
		return b.err
	case b.owed > outboxOwed:
		return errUnread
	}
	b.owed += len(message)
	b.push(nil, func(dst []byte) []byte { return append(dst, message...) })
	return nil
}

// push makes a message one of the lines that wait. The lock is held.
func (b *outbox) push(k *call, appendTo func(dst []byte) []byte) {
	start := len(b.lines)
	b.lines = appendTo(b.lines)
	flat(b.lines[start:])
	b.lines = append(b.lines, '\n')
	b.posts = append(b.posts, post{len(b.lines), k})
	if b.since.IsZero() {
		b.since = time.Now()
	}
	signal(b.news)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run writes until the child takes no more or close is called. What the child
// had no whole line of is handed to unsent.
func (b *outbox) run(unsent func(*call)) {
	var lines []byte
	var posts []post
	var err error
	n := 0
	for err == nil {
		<-b.news
		runtime.Gosched() // whoever can go on has something to put in, perhaps
		for {
			lines, posts, err = b.take(lines, posts)
			if err != nil || len(posts) == 0 {
				break
			}
			if n, err = b.write(lines); err != nil {
				break
			}
			b.read()
		}
	}
	b.close(errEnded.Because(err))
	b.mu.Lock()
	waiting := b.posts
	b.lines, b.posts, b.since = nil, nil, time.Time{}
	b.mu.Unlock()
	for _, p := range posts {
		if p.end > n && p.call != nil {
			unsent(p.call)
		}
	}
	for _, p := range waiting {
		if p.call != nil {
			unsent(p.call)
		}
	}
}

// take exchanges what waits for memory that is free.
func (b *outbox) take(lines []byte, posts []post) ([]byte, []post, error) {
	if cap(lines) > outboxKept {
		lines, posts = nil, nil
	}
	clear(posts)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, nil, b.err
	}
	b.lines, lines = lines[:0], b.lines
	b.posts, posts = posts[:0], b.posts
	b.owed = 0
	b.release()
	return lines, posts, nil
}

// release lets those go on who wait for room. The lock is held.
func (b *outbox) release() {
	if b.room != nil {
		close(b.room)
		b.room = nil
	}
}

// read notes that the child has read what was written.
func (b *outbox) read() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.since = time.Now(); len(b.posts) == 0 {
		b.since = time.Time{}
	}
}

// close makes run end once its write has, and puts fail.
func (b *outbox) close(why error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = why
	}
	b.release()
	signal(b.news)
}

// waits says since when the child has read nothing of what waits for it.
func (b *outbox) waits() (since time.Time, some bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.since, !b.since.IsZero()
}
