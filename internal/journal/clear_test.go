package journal

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestClear: what is ahead of the frames has been written before they come to
// it, once in each file, and nothing but that is touched.
func TestClear(t *testing.T) {
	const size = 4 << 20
	dir := t.TempDir()
	for i := range 2 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("journal-%d", i)), bytes.Repeat([]byte{0xff}, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	j, err := Open(dir, ID{1}, 0, size)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	for _, step := range []struct{ payload, cleared int64 }{{8, 1 << 20}, {8, 1 << 20}, {2 << 20, 3 << 20}, {8, 3 << 20}} {
		number, err := j.Append(make([]byte, step.payload))
		if err != nil {
			t.Fatal(err)
		}
		j.Applied(number)
		b := make([]byte, size)
		if _, err := j.files[j.current].ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if ahead := b[j.at:step.cleared]; len(bytes.Trim(ahead, "\x00")) > 0 {
			t.Errorf("frame %d: not all of the %d bytes ahead of it are cleared", number, len(ahead))
		}
		if rest := b[step.cleared:]; len(bytes.Trim(rest, "\xff")) > 0 {
			t.Errorf("frame %d: more was cleared than was due", number)
		}
	}
}
