package testkit

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"headgate/internal/fault"
)

var update = flag.Bool("update", false, "rewrite the golden files with what the tests got")

// Must takes the two results of a call and returns the first, or ends the test
// when there is an error: s := testkit.Must(db.Open(ctx, o))(t). Go spreads two
// results over parameters only when they are all there are, hence the second
// pair of parentheses.
func Must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		Must0(t, err)
		return v
	}
}

// Must0 ends the test when err is set.
func Must0(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("unexpected error: %v", err)
	}
}

// Equal reports the difference between got and want. Options are go-cmp's, for
// unexported fields and the like.
func Equal(t testing.TB, got, want any, opts ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, opts...); diff != "" {
		t.Errorf("not equal (-want +got):\n%s", diff)
	}
}

// Fault checks that err is a fault with the code, such as "credit.insufficient".
func Fault(t testing.TB, err error, code string) {
	t.Helper()
	if got := fault.CodeOf(err); got != code {
		t.Errorf("fault code = %q, want %q (error: %v)", got, code, err)
	}
}

// Golden compares got with testdata/name. With -update it writes the file.
func Golden(t testing.TB, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", filepath.FromSlash(name))
	if *update {
		Must0(t, os.MkdirAll(filepath.Dir(path), 0o755))
		Must0(t, os.WriteFile(path, got, 0o644))
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run the test with -update to write it", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); if the change is meant, run the test with -update:\n%s", path, diff)
	}
}

// missing skips the test because something is not installed. Under CI=true it
// fails it: there a skipped test is a hole nobody would see.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
