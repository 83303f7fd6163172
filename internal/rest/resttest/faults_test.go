package resttest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/rest"
)

type asked struct {
	Kind string `query:"kind"`
}

// TestTally shows that a documented failure counts once a test has provoked it,
// and that one nobody documented is an error.
func TestTally(t *testing.T) {
	d := rest.New(rest.Config{Base: "/tally", Title: "Tally", Version: "1", Form: rest.PlatformForm(nil),
		Authenticate: func(*http.Request, rest.Credential) (*access.Principal, error) { return nil, nil }})
	kinds := map[string]fault.Kind{"gone": fault.Gone, "conflict": fault.Conflict}
	rest.Handle(d, rest.Op{Method: "DELETE", Path: "/it", ID: "drop", Summary: "Drop it", Public: true, Errors: []fault.Kind{fault.Gone}},
		func(_ context.Context, in *asked) (*rest.None, error) {
			return nil, fault.New(kinds[in.Kind], "tally.x", "No.")
		})
	rest.Handle(d, rest.Op{Method: "GET", Path: "/other", ID: "other", Summary: "Other", Public: true}, func(context.Context, *rest.None) (*rest.None, error) { return nil, nil })
	ask := func(kind string) error {
		return note(d, send(d, httptest.NewRequest("DELETE", "/tally/it?kind="+kind, nil)))
	}
	missing := func() (of []string) {
		_, all := tallies["/tally"].count()
		for _, line := range all {
			of = append(of, line[strings.Index(line, "("):])
		}
		return of
	}
	if err := ask("nothing"); err != nil { // a kind of zero is internal
		t.Fatal(err)
	}
	before := missing()
	if !slices.Contains(before, "(drop): 410 GONE") || slices.Contains(before, "(drop): 500 INTERNAL_SERVER_ERROR") || !slices.Contains(before, "(other): 500 INTERNAL_SERVER_ERROR") {
		t.Errorf("%q", before)
	}
	if err := ask("gone"); err != nil || slices.Contains(missing(), "(drop): 410 GONE") || len(missing()) != len(before)-1 {
		t.Errorf("%v: %q", err, missing())
	}
	if err := ask("conflict"); err == nil || !strings.Contains(err.Error(), "409 CONFLICT") {
		t.Errorf("a failure that is not documented: %v", err)
	}
}
