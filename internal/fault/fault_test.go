package fault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"headgate/internal/fault"
)

var errThing = fault.New(fault.NotFound, "thing.missing", "There is no such thing.")

func TestOf(t *testing.T) {
	t.Run("finds the fault under wrapping and keeps its code", func(t *testing.T) {
		err := fmt.Errorf("load: %w", errThing.With("id", "x").Because(errors.New("disk")).After(time.Second))
		f := fault.Of(err)
		if f.Kind.Status() != 404 || f.Details["id"] != "x" || f.RetryAfter != time.Second || !errors.Is(err, errThing) {
			t.Fatalf("got %+v", f)
		}
		if errThing.Details != nil {
			t.Fatal("refining a fault changed the shared one")
		}
	})
	t.Run("hides every other error", func(t *testing.T) {
		f := fault.Of(errors.New("pq: password for root is hunter2"))
		if f.Kind != fault.Internal || strings.Contains(f.Message, "hunter2") {
			t.Fatalf("got %+v", f)
		}
		if fault.Of(nil) != nil || fault.CodeOf(nil) != "" {
			t.Fatal("nil became a fault")
		}
	})
}
