//go:build linux && (amd64 || arm64)

package helper_test

import (
	"testing"

	"headgate/internal/sandbox/helper"
)

func TestUIDsForChildren(t *testing.T) {
	for name, c := range map[string]struct {
		uidMap      string
		from, count uint64
	}{
		"root of the host":        {"0 0 4294967295\n", 0x70000000, 1 << 20},
		"root of a container":     {"0 100000 65536\n", 32768, 32768},
		"root that is alone":      {"0 1000 1\n", 0, 0},
		"root of a rootless pod":  {"0 1000 1\n1 100000 65536\n", 32769, 32768},
		"an unreadable map":       {"", 0, 0},
		"a line that is not one":  {"x\n", 0, 0},
		"uid zero is never given": {"0 100000 2\n", 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			if from, count := helper.UsableUIDs(c.uidMap); from != c.from || count != c.count {
				t.Fatalf("got %d, %d", from, count)
			}
		})
	}
}
