package resttest

import (
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"headgate/internal/rest"
)

// failure is one way an operation may fail: a status with the door's word.
type failure struct {
	status int
	word   string
}

func (f failure) String() string { return fmt.Sprintf("%d %s", f.status, f.word) }

// promised reads from the document how an operation may fail.
func promised(d *rest.Door, op rest.Op) map[failure]bool {
	all := map[failure]bool{}
	for text, response := range documented(d, op).Responses {
		status, err := strconv.Atoi(text)
		if err != nil || status < 400 {
			continue
		}
		_, words, _ := strings.Cut(response.Description, ": ")
		for word := range strings.SplitSeq(words, ", ") {
			all[failure{status, word}] = true
		}
	}
	return all
}

// tally is how the operations of one door have failed in this process.
type tally struct {
	door *rest.Door
	ops  map[string]rest.Op          // by method and pattern
	met  map[string]map[failure]bool // by operation
}

var (
	tallying sync.Mutex
	tallies  = map[string]*tally{} // by the door's base
)

// note counts an answer. One of an operation whose document does not have this
// failure is an error.
func note(d *rest.Door, a *answer) error {
	if a.info.Route == "" { // no operation's
		return nil
	}
	tallying.Lock()
	defer tallying.Unlock()
	t := tallies[d.Base()]
	if t == nil {
		t = &tally{d, map[string]rest.Op{}, map[string]map[failure]bool{}}
		for _, op := range d.Operations() {
			t.ops[op.Method+" "+d.Base()+op.Path] = op
			t.met[op.ID] = map[failure]bool{}
		}
		tallies[d.Base()] = t
	}
	op, known := t.ops[a.request.Method+" "+a.info.Route]
	f := failure{a.Code, code(a.Body.Bytes())}
	switch {
	case a.Code < 400 || !known: // a HEAD, for one
		return nil
	case !promised(t.door, op)[f]:
		return fmt.Errorf("%s answers %v, which its document does not have", op.ID, f)
	}
	t.met[op.ID][f] = true
	return nil
}

// Serve serves a request as the server would hand it over. It counts how the
// operation failed, for Main; a failure that is not documented fails the test.
// Every test of a door sends its requests through it.
func Serve(t testing.TB, d *rest.Door, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	a := send(d, r)
	if err := note(d, a); err != nil {
		t.Error(err)
	}
	return a.ResponseRecorder
}

// Main runs a package's tests. When all of them ran and passed, every failure
// that the documents of the doors promise must have been provoked by one of
// them, or the run fails: a documented error that nobody has seen is a guess.
// What the inputs of Hostile happen to provoke does not count.
func Main(m *testing.M) int {
	code := m.Run()
	if code != 0 || !whole() {
		return code
	}
	for _, t := range tallies {
		total, missing := t.count()
		if testing.Verbose() {
			fmt.Printf("%s: %d of %d documented failures provoked\n", t.door.OpenAPI().Info.Title, total-len(missing), total)
		}
		for _, line := range missing {
			code = 1
			fmt.Println("documented, but provoked by no test: " + line)
		}
	}
	return code
}

// whole reports whether nothing was left out of the run.
func whole() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if f := flag.Lookup(name); f != nil && f.Value.String() != "" {
			return false
		}
	}
	return true
}

func (t *tally) count() (total int, missing []string) {
	for _, op := range t.door.Operations() {
		for f := range promised(t.door, op) {
			total++
			if !t.met[op.ID][f] {
				missing = append(missing, fmt.Sprintf("%s %s%s (%s): %v", op.Method, t.door.Base(), op.Path, op.ID, f))
			}
		}
	}
	slices.Sort(missing)
	return total, missing
}
