package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"

	"headgate/internal/journal"
)

const size = 4096

var id = journal.ID{1, 2, 3}

func open(t interface{ Fatalf(string, ...any) }, dir string, after uint64) *journal.Journal {
	j, err := journal.Open(dir, id, after, size)
	if err != nil {
		t.Fatalf("open after %d: %v", after, err)
	}
	return j
}

func replayed(t interface{ Fatalf(string, ...any) }, j *journal.Journal) (list []string) {
	if err := j.Replay(func(n uint64, p []byte) error {
		list = append(list, fmt.Sprintf("%d:%s", n, p))
		return nil
	}); err != nil {
		t.Fatalf("replay: %v", err)
	}
	return list
}

func TestJournal(t *testing.T) {
	t.Run("what was confirmed is there after a crash, what was applied is not", func(t *testing.T) {
		dir := t.TempDir()
		j := open(t, dir, 0)
		for i := range 5 {
			if n, err := j.Append(fmt.Appendf(nil, "r%d", i)); err != nil || n != uint64(i+1) {
				t.Fatalf("%d, %v", n, err)
			}
		}
		_ = j.Close()
		if got := fmt.Sprint(replayed(t, open(t, dir, 2))); got != "[3:r2 4:r3 5:r4]" {
			t.Fatalf("got %s", got)
		}
	})
	t.Run("a torn last frame ends the reading, wherever it is torn", func(t *testing.T) {
		dir := t.TempDir()
		j := open(t, dir, 0)
		_, _ = j.Append([]byte("good"))
		_, _ = j.Append([]byte("torn-here"))
		_ = j.Close()
		path := filepath.Join(dir, "journal-0")
		whole, _ := os.ReadFile(path)
		for at := 48; at < 48+40+9; at++ {
			if at >= 48+12 && at < 48+16 {
				continue // reserved, but covered by the checksum all the same
			}
			bad := bytes.Clone(whole)
			bad[at] ^= 0x40
			_ = os.WriteFile(path, bad, 0o600)
			if got := fmt.Sprint(replayed(t, open(t, dir, 0))); got != "[1:good]" {
				t.Fatalf("byte %d: got %s", at, got)
			}
		}
	})
	t.Run("the files take turns and none is overwritten before it is applied", func(t *testing.T) {
		dir := t.TempDir()
		j := open(t, dir, 0)
		rec := bytes.Repeat([]byte("x"), 1000)
		var last uint64
		for {
			n, err := j.Append(rec)
			if errors.Is(err, journal.ErrFull) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			last = n
		}
		if last != 6 {
			t.Fatalf("%d frames of 1040 bytes in twice 4096", last)
		}
		j.Applied(3)
		if n, err := j.Append([]byte("next")); err != nil || n != 7 {
			t.Fatalf("%d, %v", n, err)
		}
		_ = j.Close()
		if got := replayed(t, open(t, dir, 3)); len(got) != 4 || got[3] != "7:next" {
			t.Fatalf("got %d frames", len(got))
		}
	})
	t.Run("an older copy of the database is refused", func(t *testing.T) {
		dir := t.TempDir()
		j := open(t, dir, 10)
		_, _ = j.Append([]byte("x"))
		_ = j.Close()
		if _, err := journal.Open(dir, id, 7, size); !errors.Is(err, journal.ErrGap) {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("another database's frames are nothing", func(t *testing.T) {
		dir := t.TempDir()
		j := open(t, dir, 0)
		_, _ = j.Append([]byte("x"))
		_ = j.Close()
		other, err := journal.Open(dir, journal.ID{9}, 0, size)
		if err != nil || len(replayed(t, other)) != 0 {
			t.Fatalf("got %v", err)
		}
	})
	t.Run("after a failed write nothing is taken until it is healed, and its number is not used again", func(t *testing.T) {
		dir := t.TempDir()
		j := open(t, dir, 0)
		_, _ = j.Append([]byte("one"))
		_ = j.Close() // the disk goes away
		if _, err := j.Append([]byte("lost")); err == nil {
			t.Fatal("appended to a closed file")
		}
		if _, err := j.Append([]byte("more")); !errors.Is(err, journal.ErrBroken) {
			t.Fatalf("got %v", err)
		}
		var skipped uint64
		if err := j.Heal(func(n uint64) error { skipped = n; return nil }); err != nil || skipped != 2 {
			t.Fatalf("skipped %d, %v", skipped, err)
		}
	})
	t.Run("a record that cannot fit is refused", func(t *testing.T) {
		if _, err := open(t, t.TempDir(), 0).Append(make([]byte, size)); !errors.Is(err, journal.ErrTooBig) {
			t.Fatalf("got %v", err)
		}
	})
}

// TestDeaths plays random histories of appends, applications and crashes
// against a list.
func TestDeaths(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		dir, err := os.MkdirTemp("", "journal")
		if err != nil {
			r.Fatal(err)
		}
		defer os.RemoveAll(dir)
		j := open(r, dir, 0)
		var confirmed []string
		applied := uint64(0)
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			switch rapid.IntRange(0, 5).Draw(r, "what") {
			case 0, 1, 2:
				p := rapid.SliceOfN(rapid.Byte(), 0, 1500).Draw(r, "payload")
				n, err := j.Append(p)
				if errors.Is(err, journal.ErrFull) {
					applied = uint64(len(confirmed)) // the caller makes rows and tries again
					j.Applied(applied)
					n, err = j.Append(p)
				}
				if err != nil || n != uint64(len(confirmed)+1) {
					r.Fatalf("append: %d, %v", n, err)
				}
				confirmed = append(confirmed, string(p))
			case 3:
				applied = uint64(rapid.IntRange(int(applied), len(confirmed)).Draw(r, "applied"))
				j.Applied(applied)
			default:
				_ = j.Close()
				j = open(r, dir, applied)
				got := replayed(r, j)
				if len(got) != len(confirmed)-int(applied) {
					r.Fatalf("replayed %d of %d after %d", len(got), len(confirmed), applied)
				}
				for i, g := range got {
					if want := fmt.Sprintf("%d:%s", int(applied)+i+1, confirmed[int(applied)+i]); g != want {
						r.Fatalf("frame %d differs", i)
					}
				}
			}
		}
		_ = j.Close()
	})
}
