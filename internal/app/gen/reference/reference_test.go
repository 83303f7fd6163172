package reference_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headgate/internal/app/gen/reference"
	"headgate/internal/rest"
)

func TestFaults(t *testing.T) {
	write := func(t *testing.T, text string) string {
		t.Helper()
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "errors.go"), []byte("package x\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	t.Run("finds every declared fault with the door's status and word", func(t *testing.T) {
		list, err := reference.Faults(write(t, `
var ErrSlow = fault.New(fault.Timeout, "x.slow", "Too slow. "+"Wait | try again.")
func f() error { return fault.New(fault.NotFound, "x.gone", "Gone.") }`))
		if err != nil || len(list) != 2 {
			t.Fatal(list, err)
		}
		page := string(reference.Errors(list, rest.PlatformForm(map[string]string{"x.gone": "NO_X"})))
		for _, want := range []string{
			"| `x.gone` | 404 | `NO_X` | Gone. |\n| `x.slow` | 500 | `MCP_SERVICE_ERROR` | Too slow. Wait \\| try again. |",
		} {
			if !strings.Contains(page, want) {
				t.Errorf("no %q in\n%s", want, page)
			}
		}
	})
	for name, text := range map[string]string{
		"refuses a code that is computed":     `var E = fault.New(fault.Invalid, prefix+"a", "m")`,
		"refuses a code declared twice":       `var E, F = fault.New(fault.Invalid, "a.b", "m"), fault.New(fault.Gone, "a.b", "m")`,
		"refuses a kind it does not know":     `var E = fault.New(fault.Strange, "a.b", "m")`,
		"refuses a call with other arguments": `var E = fault.New(fault.Invalid, "a.b")`,
	} {
		t.Run(name, func(t *testing.T) {
			if list, err := reference.Faults(write(t, text)); err == nil {
				t.Fatal("accepted", list)
			}
		})
	}
	t.Run("reads the whole program", func(t *testing.T) {
		list, err := reference.Faults("../../..")
		if err != nil || len(list) < 20 {
			t.Fatal(len(list), err)
		}
	})
}
