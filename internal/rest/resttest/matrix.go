package resttest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/rest"
)

// Place says whose the object is that a request names.
type Place int

// The places. An operation about no object is asked in Own alone.
const (
	Own Place = iota
	OtherOrganization
	OtherTenant
	Random
	Malformed
)

var places = []Place{Own, OtherOrganization, OtherTenant, Random, Malformed}

// String returns the place's name.
func (p Place) String() string {
	return []string{"own", "other organization", "other tenant", "random", "malformed"}[p]
}

// Caller is a kind of principal.
type Caller struct {
	Name string
	// Credential returns what follows "Bearer "; "" sends nothing. It is called
	// for each operation, and for each request of one that uses it up.
	Credential func() string
	Refused    int // what it gets where it may not: 401, 403
}

// Object is something requests are about. It returns the id of one in a place,
// seen from a caller; spent asks for a new one, because the request before has
// used it up.
type Object func(caller string, at Place, spent bool) string

// Row is what is expected of one operation.
type Row struct {
	May     string            // the names of the callers that may, "*" for all
	Status  int               // what they get for their own; 0 is 200
	Except  map[string]int    // what single callers get instead, by name
	Subject string            // which of the objects it is about; "" none
	Absent  map[Place]int     // what callers that may get for objects elsewhere; 404 where not said
	Query   string            // "a=b"
	Body    func(string) any  // gets the subject's id; a word used nowhere else where there is no subject
	Path    map[string]string // values of further path parameters
	Spends  bool              // each request uses up its caller and its object
	Silent  string            // why a success leaves no event in the audit trail
}

// Matrix is a door and what is expected of it.
type Matrix struct {
	Door    *rest.Door
	Callers []Caller
	Objects map[string]Object
	Rows    map[string]Row // by operation id
	// Trail returns how many events the audit trail has; nil does not look. Each
	// success of an operation that is no GET must add one, unless its row is
	// Silent.
	Trail func() int64
}

// serial makes words unique in a process.
var serial atomic.Int64

// Run walks the matrix.
func (m Matrix) Run(t *testing.T) {
	seen := map[string]bool{}
	for _, op := range m.Door.Operations() {
		seen[op.ID] = true
		row, ok := m.Rows[op.ID]
		if !ok {
			t.Errorf("%s %s (%s) has no row: say in the matrix who may", op.Method, op.Path, op.ID)
			continue
		}
		t.Run(op.ID, func(t *testing.T) { m.walk(t, op, row) })
	}
	for name := range m.Rows {
		if !seen[name] {
			t.Errorf("row %s has no operation: remove it", name)
		}
	}
}

func (m Matrix) walk(t *testing.T, op rest.Op, row Row) {
	may := strings.Fields(row.May)
	for _, name := range may {
		if name != "*" && !slices.ContainsFunc(m.Callers, func(c Caller) bool { return c.Name == name }) {
			t.Errorf("row %s names a caller that is none: %s", op.ID, name)
		}
	}
	for _, c := range m.Callers {
		permitted := row.May == "*" || slices.Contains(may, c.Name)
		credential := c.Credential()
		for _, at := range places {
			if at != Own && (row.Subject == "" || !permitted) {
				continue
			}
			if row.Spends && at != Own {
				credential = c.Credential()
			}
			want := c.Refused
			if permitted {
				want = row.want(at)
			}
			if status, ok := row.Except[c.Name]; ok && (at == Own || !permitted) {
				want = status
			}
			m.ask(t, op, row, c, credential, at, want)
		}
	}
}

func (r Row) want(at Place) int {
	switch status, said := r.Absent[at]; {
	case at == Own && r.Status == 0:
		return http.StatusOK
	case at == Own:
		return r.Status
	case said:
		return status
	}
	return http.StatusNotFound
}

func (m Matrix) ask(t *testing.T, op rest.Op, row Row, c Caller, credential string, at Place, want int) {
	t.Helper()
	subject := fmt.Sprintf("word%d", serial.Add(1))
	if row.Subject != "" {
		object := m.Objects[row.Subject]
		if object == nil {
			t.Fatalf("row %s is about %s, of which there is none", op.ID, row.Subject)
		}
		subject = object(c.Name, at, row.Spends)
	}
	r := m.request(t, op, row, subject)
	if credential != "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	if isStream(m.Door, op) {
		ctx, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
		defer cancel()
	}
	looks := m.Trail != nil && op.Method != http.MethodGet && at == Own
	var events int64
	if looks {
		events = m.Trail()
	}
	a := send(m.Door, r.WithContext(ctx))
	_ = note(m.Door, a) // check, below, says so too
	if looks && a.Code < 300 && (m.Trail() > events) == (row.Silent != "") {
		t.Errorf("%s: %d: it left an event: %v; its row says: %q", c.Name, a.Code, row.Silent != "", row.Silent)
	}
	if a.Code != want {
		t.Errorf("%s, %s: status %d, want %d: %.300s", c.Name, at, a.Code, want, a.Body)
	}
	if err := a.check(m.Door, op); err != nil {
		t.Errorf("%s, %s: %d: %v: %.300s", c.Name, at, a.Code, err, a.Body)
	}
}

func (m Matrix) request(t *testing.T, op rest.Op, row Row, subject string) *http.Request {
	t.Helper()
	path := op.Path
	for _, name := range parameters(path) {
		value, said := row.Path[name]
		if !said {
			value = subject
		}
		path = strings.Replace(path, "{"+name+"}", url.PathEscape(value), 1)
	}
	target := m.Door.Base() + path
	if row.Query != "" {
		target += "?" + row.Query
	}
	if row.Body == nil {
		return httptest.NewRequest(op.Method, target, nil)
	}
	text, err := json.Marshal(row.Body(subject))
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(op.Method, target, strings.NewReader(string(text)))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// isStream reports whether an operation answers without an end of its own.
func isStream(d *rest.Door, op rest.Op) bool {
	hop := documented(d, op)
	return hop != nil && hop.Responses["200"] != nil && hop.Responses["200"].Content["text/event-stream"] != nil
}
