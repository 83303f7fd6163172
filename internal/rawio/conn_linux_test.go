package rawio

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"
)

// pair returns both ends of a connection, each as TCP makes it without the race
// detector.
func pair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialed, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	return wrap(dialed), wrap(accepted)
}

// TestBothWays sends more than any buffer of the kernel holds, in both
// directions at once, so that reads and writes have to wait in the middle.
func TestBothWays(t *testing.T) {
	a, b := pair(t)
	want := make([]byte, 16<<20)
	rand.Read(want)
	var wg sync.WaitGroup
	for _, c := range []net.Conn{a, b} {
		wg.Go(func() {
			if n, err := c.Write(want); n != len(want) || err != nil {
				t.Errorf("wrote %d: %v", n, err)
			}
			if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("read %d bytes of %d, or others: %v", len(got), len(want), err)
			}
		})
	}
	wg.Wait()
}

// TestErrors: what a caller of net.TCPConn tests for is what it gets here.
func TestErrors(t *testing.T) {
	for _, kind := range []string{"deadline", "deadline of a write", "closed", "closed under a read", "end", "reset", "write to the gone"} {
		t.Run(kind, func(t *testing.T) {
			a, b := pair(t)
			p := make([]byte, 8)
			var err error
			switch kind {
			case "deadline":
				a.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				if _, err = a.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("got %v", err)
				}
				a.SetReadDeadline(time.Time{})
				b.Write([]byte("late"))
				if n, err := a.Read(p); n != 4 || err != nil {
					t.Fatalf("after the deadline: %d, %v", n, err)
				}
				return
			case "deadline of a write":
				much := make([]byte, 64<<20)
				a.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
				n, err := a.Write(much)
				if n == 0 || n == 64<<20 || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatalf("wrote %d: %v", n, err)
				}
				return
			case "closed":
				a.Close()
				if _, err = a.Write(p); !errors.Is(err, net.ErrClosed) {
					t.Fatalf("write: %v", err)
				}
				_, err = a.Read(p)
				if !errors.Is(err, net.ErrClosed) {
					t.Fatalf("read: %v", err)
				}
			case "closed under a read":
				time.AfterFunc(20*time.Millisecond, func() { a.Close() })
				if _, err = a.Read(p); !errors.Is(err, net.ErrClosed) {
					t.Fatalf("got %v", err)
				}
			case "end":
				b.Close()
				if n, err := a.Read(p); n != 0 || err != io.EOF { //nolint:errorlint // io.Reader promises the bare value
					t.Fatalf("got %d, %v", n, err)
				}
				return
			case "reset":
				b.(interface{ SetLinger(int) error }).SetLinger(0)
				b.Close()
				if _, err = a.Read(p); !errors.Is(err, syscall.ECONNRESET) {
					t.Fatalf("got %v", err)
				}
			case "write to the gone":
				b.(interface{ SetLinger(int) error }).SetLinger(0)
				b.Close()
				for range 100 { // until the reset has come
					if _, err = a.Write(p); err != nil {
						break
					}
					time.Sleep(time.Millisecond)
				}
				if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
					t.Fatalf("got %v", err)
				}
			}
			var op *net.OpError
			if !errors.As(err, &op) || op.Op != "read" && op.Op != "write" || op.Net != "tcp" || op.Addr == nil {
				t.Errorf("not an error of net's: %#v", err)
			}
		})
	}
}

// TestTogether: buffers still leave in one system call, which is net's own and
// no Write for each, and nothing is read into an empty slice.
func TestTogether(t *testing.T) {
	a, b := pair(t)
	out := &a.(*Conn).out
	out.mu.Lock() // a Write would wait
	written := make(chan error, 1)
	go func() {
		parts := net.Buffers{[]byte("one "), []byte("two")}
		_, err := parts.WriteTo(a)
		written <- err
	}()
	select {
	case err := <-written:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("the buffers went through Write")
	}
	out.mu.Unlock()
	if n, err := b.Read(nil); n != 0 || err != nil {
		t.Errorf("empty read: %d, %v", n, err)
	}
	p := make([]byte, 16)
	if n, err := io.ReadAtLeast(b, p, 7); string(p[:n]) != "one two" || err != nil {
		t.Errorf("read %q: %v", p[:n], err)
	}
	if n, err := a.Write(nil); n != 0 || err != nil {
		t.Errorf("empty write: %d, %v", n, err)
	}
}

// TestOthers: what is no TCP connection stays as it is.
func TestOthers(t *testing.T) {
	a, _ := net.Pipe()
	if TCP(a) != a {
		t.Error("a pipe was changed")
	}
}

func TestNoAllocations(t *testing.T) {
	a, b := pair(t)
	p := make([]byte, 64)
	if n := testing.AllocsPerRun(200, func() {
		a.Write(p)
		io.ReadFull(b, p)
	}); n > 0 {
		t.Errorf("%v allocations for a write and a read", n)
	}
}
