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

// cut cuts into parts that are empty, smaller than one call takes, and larger.
func cut(rest []byte) (parts [][]byte) {
	for len(rest) > 0 {
		n := min(len(rest), (len(parts)%5)*100<<10)
		parts = append(parts, rest[:n])
		rest = rest[n:]
	}
	return parts
}

// TestParts: parts of every size, empty ones too, arrive as one.
func TestParts(t *testing.T) {
	a, b := pair(t)
	want := make([]byte, 8<<20)
	rand.Read(want)
	parts := net.Buffers(cut(want))
	got := make(chan []byte, 1)
	go func() {
		p := make([]byte, len(want))
		io.ReadFull(b, p)
		got <- p
	}()
	if n, err := a.(*Conn).WriteBuffers(&parts); n != int64(len(want)) || err != nil || len(parts) > 0 {
		t.Fatalf("wrote %d, %v, and %d parts are left", n, err, len(parts))
	}
	if !bytes.Equal(<-got, want) {
		t.Error("other bytes came")
	}
	a.Close()
	if n, err := a.(*Conn).WriteBuffers(&net.Buffers{want}); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %d, %v", n, err)
	}
}

// TestAsk: a question goes out only on a connection that has nothing to say,
// and the answer is waited for.
func TestAsk(t *testing.T) {
	t.Run("writes, and returns once the answer has come", func(t *testing.T) {
		a, b := pair(t)
		go func() {
			p := make([]byte, 8)
			io.ReadFull(b, p)
			b.Write(p)
		}()
		n, err := a.(*Conn).Ask([]byte("one "), nil, []byte("two "))
		if n != 8 || err != nil {
			t.Fatalf("asked %d, %v", n, err)
		}
		p := make([]byte, 16)
		if n, err := a.Read(p); string(p[:n]) != "one two " || err != nil {
			t.Errorf("read %q, %v", p[:n], err)
		}
	})
	for name, end := range map[string]func(b net.Conn){
		"has ended":      func(b net.Conn) { b.Close() },
		"is half closed": func(b net.Conn) { b.(*Conn).CloseWrite() },
		"was reset":      func(b net.Conn) { b.(*Conn).SetLinger(0); b.Close() },
		"says something": func(b net.Conn) { b.Write([]byte("unasked")) },
	} {
		t.Run("writes nothing where the connection "+name, func(t *testing.T) {
			a, b := pair(t)
			end(b)
			if n, err := a.(*Conn).Ask([]byte("one")); n != 0 || err != ErrStale { //nolint:errorlint // as promised
				t.Errorf("asked %d, %v", n, err)
			}
		})
	}
	t.Run("ends with what ends the wait, which is the next read's to say", func(t *testing.T) {
		for kind, end := range map[string]func(a, b net.Conn){
			"deadline":    func(a, b net.Conn) { a.SetDeadline(time.Unix(1, 0)) },
			"closed":      func(a, b net.Conn) { a.Close() },
			"end":         func(a, b net.Conn) { b.Close() },
			"half closed": func(a, b net.Conn) { b.(*Conn).CloseWrite() },
		} {
			a, b := pair(t)
			go func() {
				io.ReadFull(b, make([]byte, 3)) // it is out, so the other waits or soon will
				end(a, b)
			}()
			if n, err := a.(*Conn).Ask([]byte("one")); n != 3 || err != nil {
				t.Errorf("%s: asked %d, %v", kind, n, err)
			}
			if n, err := a.Read(make([]byte, 3)); n != 0 || err == nil {
				t.Errorf("%s: read %d, %v", kind, n, err)
			}
		}
	})
	t.Run("says how much went out when the time is up before or during the write", func(t *testing.T) {
		a, b := pair(t)
		a.SetDeadline(time.Unix(1, 0))
		if n, err := a.(*Conn).Ask([]byte("one")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("before: %d, %v", n, err)
		}
		much := make([]byte, 64<<20)
		a.SetDeadline(time.Now().Add(50 * time.Millisecond))
		n, err := a.(*Conn).Ask(make([]byte, 1000), much)
		if n == 0 || n == 1000+len(much) || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("during: %d, %v", n, err)
		}
		b.Close()
	})
	t.Run("writes more than the kernel holds at once, every byte in its place", func(t *testing.T) {
		a, b := pair(t)
		want := make([]byte, 16<<20)
		rand.Read(want)
		parts := cut(want[300<<10:])
		got := make(chan []byte, 1)
		go func() {
			p := make([]byte, len(want))
			io.ReadFull(b, p)
			b.Write([]byte("."))
			got <- p
		}()
		if n, err := a.(*Conn).Ask(want[:300<<10], parts...); n != len(want) || err != nil {
			t.Fatalf("asked %d, %v", n, err)
		}
		if !bytes.Equal(<-got, want) {
			t.Error("other bytes came")
		}
	})
	t.Run("loses no wake-up", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 32 {
			a, b := pair(t)
			a.SetDeadline(time.Now().Add(time.Minute))
			wg.Go(func() {
				p := make([]byte, 64)
				for {
					n, err := b.Read(p)
					if err != nil {
						return
					}
					b.Write(p[:n/2]) // so that the rest wakes the reader once more, maybe too late
					b.Write(p[n/2 : n])
				}
			})
			wg.Go(func() {
				defer a.Close()
				p := make([]byte, 64)
				for range 500 {
					if n, err := a.(*Conn).Ask(p); n != len(p) || err != nil {
						t.Errorf("asked %d, %v", n, err)
						return
					}
					if _, err := io.ReadFull(a, p); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
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
