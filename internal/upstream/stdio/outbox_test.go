//go:build linux && (amd64 || arm64)

package stdio_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"headgate/internal/testkit"
	"headgate/internal/upstream/stdio"
)

func TestOutbox(t *testing.T) {
	// took is what the child's side of a write says.
	type took struct {
		n   int
		err error
	}
	begin := func(t *testing.T) (o *stdio.Outbox, writes chan string, takes chan took, lost func() []uint64) {
		writes, takes = make(chan string), make(chan took)
		o = stdio.NewOutbox(func(b []byte) (int, error) {
			writes <- string(b)
			w := <-takes
			return w.n, w.err
		})
		var numbers []uint64
		var run sync.WaitGroup
		run.Go(func() { o.Run(func(n uint64) { numbers = append(numbers, n) }) })
		return o, writes, takes, func() []uint64 { run.Wait(); return numbers }
	}
	t.Run("what comes while the child is written to is one write, in its order", func(t *testing.T) {
		o, writes, takes, lost := begin(t)
		testkit.Must0(t, o.Put(t.Context(), 0, "first"))
		if got := <-writes; got != "first\n" {
			t.Errorf("%q", got)
		}
		var want strings.Builder
		for i := range uint64(100) {
			testkit.Must0(t, o.Put(t.Context(), i+1, fmt.Sprint("line ", i)))
			testkit.Must0(t, o.Add("ours"))
			fmt.Fprintf(&want, "line %d\nours\n", i)
		}
		takes <- took{n: 6}
		if got := <-writes; got != want.String() {
			t.Errorf("%q", got)
		}
		if !o.Waits() {
			t.Error("nothing waits to be read")
		}
		takes <- took{n: want.Len()}
		eventually(t, "all read", func() bool { return !o.Waits() })
		o.Close()
		if left := lost(); len(left) > 0 {
			t.Errorf("unsent: %v", left)
		}
	})
	t.Run("a message is one line", func(t *testing.T) {
		o, writes, takes, lost := begin(t)
		testkit.Must0(t, o.Put(t.Context(), 1, "{\r\n}"))
		if got := <-writes; got != "{  }\n" {
			t.Errorf("%q", got)
		}
		takes <- took{n: 5}
		o.Close()
		lost()
	})
	t.Run("what the child had no whole line of is told, and that alone", func(t *testing.T) {
		o, writes, takes, lost := begin(t)
		testkit.Must0(t, o.Put(t.Context(), 1, "xxxx"))
		<-writes
		for n := range uint64(3) {
			testkit.Must0(t, o.Put(t.Context(), n+2, "yyyy"))
		}
		takes <- took{n: 5}
		<-writes
		testkit.Must0(t, o.Put(t.Context(), 5, "behind it"))
		takes <- took{n: 9, err: errors.New("gone")} // the second of three lines but its break
		if got := lost(); !slices.Equal(got, []uint64{3, 4, 5}) {
			t.Errorf("%v", got)
		}
		testkit.Fault(t, o.Put(t.Context(), 6, "late"), "stdio.ended")
		testkit.Fault(t, o.Add("late"), "stdio.ended")
	})
	t.Run("a child that reads nothing holds up callers once much waits, not its own reader", func(t *testing.T) {
		o, writes, takes, lost := begin(t)
		big := strings.Repeat("x", 1<<20)
		testkit.Must0(t, o.Put(t.Context(), 1, big))
		<-writes
		testkit.Must0(t, o.Put(t.Context(), 2, big))
		brief, cancel := context.WithCancel(t.Context())
		waits := make(chan error)
		go func() { waits <- o.Put(brief, 3, "no room") }()
		n := 0
		for ; o.Add(strings.Repeat("y", 1000)) == nil; n++ {
			if n > 2000 {
				t.Fatal("no end of what it is owed")
			}
		}
		if n < 1000 {
			t.Errorf("%d", n)
		}
		cancel()
		if err := <-waits; !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
		go func() { waits <- o.Put(t.Context(), 4, "room") }()
		takes <- took{n: len(big) + 1}
		<-writes // all that waited
		testkit.Must0(t, <-waits)
		takes <- took{err: errors.New("gone")}
		if got := lost(); !slices.Equal(got, []uint64{2, 4}) {
			t.Errorf("%v", got)
		}
	})
}
