package journal

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestRing: what a ring has written is in the file, and what the disk says of
// it comes back. Where there is no ring the journal does without one, which the
// other tests then show.
func TestRing(t *testing.T) {
	if got := [2]uintptr{unsafe.Sizeof(command{}), unsafe.Sizeof(result{})}; got != [2]uintptr{64, 32} {
		t.Fatalf("struct iocb and io_event have 64 and 32 bytes, not %d", got)
	}
	r := newRing()
	if r == nil {
		var context uintptr
		if _, _, e := syscall.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&context)), 0); e == 0 {
			t.Fatal("no ring where the system has asynchronous I/O")
		}
		t.Log("no asynchronous I/O here")
		return
	}
	defer r.Close()
	path := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i, text := range []string{"one", "two"} {
		if err := r.write(f, []byte(text), int64(i*3)); err != nil {
			t.Fatal(err)
		}
	}
	if got, _ := os.ReadFile(path); string(got) != "onetwo" {
		t.Errorf("the file has %q", got)
	}
	only, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer only.Close()
	if err := r.write(only, []byte("x"), 0); !errors.Is(err, syscall.EBADF) {
		t.Errorf("a file that is only read: %v", err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := r.write(full, []byte("x"), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a full disk: %v", err)
	}
	if err := r.write(f, []byte("three"), 3); err != nil {
		t.Errorf("after those: %v", err)
	}
}

// TestWithoutRing: a journal whose ring is refused, at its beginning or later, or
// is not heard any more, goes on without it and loses nothing.
func TestWithoutRing(t *testing.T) {
	for name, refuse := range map[string]func(*Journal){
		"none": func(j *Journal) { _ = j.disk.Close() },
		"not heard": func(j *Journal) {
			if j.disk.ring != nil {
				_ = j.disk.ring.told.SetReadDeadline(time.Unix(1, 0)) // with the sync under way
			}
		},
		"refused later": func(j *Journal) {
			if j.disk.ring != nil {
				_, _, _ = syscall.Syscall(unix.SYS_IO_DESTROY, j.disk.ring.context, 0, 0)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			j, err := Open(dir, ID{1}, 0, 4096)
			if err != nil {
				t.Fatal(err)
			}
			for i, text := range []string{"one", "two", "three"} {
				if i == 1 {
					refuse(j)
				}
				if n, err := j.Append([]byte(text)); err != nil || n != uint64(i+1) {
					t.Fatalf("%d, %v", n, err)
				}
			}
			if j.disk.ring != nil {
				t.Error("the ring is still there")
			}
			if err := j.Close(); err != nil {
				t.Error(err)
			}
			if j, err = Open(dir, ID{1}, 0, 4096); err != nil || len(j.pending) != 3 {
				t.Fatalf("%d frames, %v", len(j.pending), err)
			}
			_ = j.Close()
		})
	}
}

// TestRingsAlone: rings of several journals do not hear each other.
func TestRingsAlone(t *testing.T) {
	var all sync.WaitGroup
	for i := range 4 {
		j, err := Open(t.TempDir(), ID{byte(i)}, 0, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		all.Go(func() {
			for n := range uint64(50) {
				if got, err := j.Append(make([]byte, 100)); err != nil || got != n+1 {
					t.Errorf("journal %d: %d, %v", i, got, err)
					return
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkAppend(b *testing.B) {
	for _, ring := range []bool{true, false} {
		b.Run(map[bool]string{true: "ring", false: "thread"}[ring], func(b *testing.B) {
			j, err := Open(b.TempDir(), ID{1}, 0, 0)
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			if !ring {
				_ = j.disk.Close()
			}
			payload := make([]byte, 2000)
			for b.Loop() {
				n, err := j.Append(payload)
				if err != nil {
					b.Fatal(err)
				}
				j.Applied(n)
			}
		})
	}
}
