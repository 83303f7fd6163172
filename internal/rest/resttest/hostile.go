package resttest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"headgate/internal/rest"
)

// Hostile is a door and what makes inputs reach deep into it.
type Hostile struct {
	Door *rest.Door
	// Credential returns a credential that may do the operation; it is asked
	// again after every few inputs, since some of them end it.
	Credential func(op rest.Op) string
	// Known returns values that exist, by the name of the parameter or field
	// that takes them ("serviceId"). It is asked for each operation, since the
	// one before may have removed them.
	Known func(op rest.Op) map[string][]string
	// Tolerate says which answers of 500 and above are right: those about a
	// failing upstream.
	Tolerate func(status int, code string) bool
	Pause    func() // before each request of a walk, where the door has a rate; may be nil
	Inputs   int    // per operation; 0: HEADGATE_HOSTILE, else 100
	Seed     uint64 // 0: the same each time for the short run, another one for a long one
}

const (
	canary     = "cAnArY7f3a"
	renewEvery = 20
	shortRun   = 100 // inputs per operation where nobody asks for more
)

func (h Hostile) inputs() int {
	if h.Inputs > 0 {
		return h.Inputs
	}
	if n, err := strconv.Atoi(os.Getenv("HEADGATE_HOSTILE")); err == nil && n > 0 {
		return n
	}
	return shortRun
}

// Run sends the inputs, the same ones for the same seed.
func (h Hostile) Run(t *testing.T) {
	if h.Seed == 0 {
		h.Seed = 1
		if h.inputs() > shortRun {
			h.Seed = uint64(time.Now().UnixNano())
		}
	}
	for i, op := range h.Door.Operations() {
		t.Run(op.ID, func(t *testing.T) {
			g := &generator{rand: rand.New(rand.NewPCG(h.Seed, uint64(i))), door: h.Door, known: h.Known(op)}
			credential, reached := "", 0
			n := h.inputs()
			for k := range n {
				if k%renewEvery == 0 {
					credential = h.Credential(op)
				}
				in := g.input(op)
				a := h.send(op, in, credential)
				if a.Code < 400 {
					reached++
				}
				if err := h.judge(op, in, a); err != nil {
					t.Fatalf("input %d of seed %d: %v\n%s\n%d %.500s\n%v", k, h.Seed, err, in, a.Code, a.Body, a.info.Err)
				}
			}
			t.Logf("%d of %d inputs went well", reached, n)
		})
	}
}

// input is one request, before it has a credential.
type input struct {
	method, target string
	header         http.Header
	body           []byte
	hasBody        bool
}

func (in *input) String() string {
	h := in.header.Clone()
	h.Del("Authorization")
	return fmt.Sprintf("%s %.300s\n%v\n%.600q", in.method, in.target, h, in.body)
}

// ask sends an input, and counts how it failed.
func (h Hostile) ask(t *testing.T, op rest.Op, in *input, credential string) *answer {
	t.Helper()
	if h.Pause != nil {
		h.Pause()
	}
	a := h.send(op, in, credential)
	if err := note(h.Door, a); err != nil {
		t.Error(err)
	}
	return a
}

func (h Hostile) send(op rest.Op, in *input, credential string) *answer {
	limit := 30 * time.Second
	if isStream(h.Door, op) {
		limit = 5 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	var body io.Reader = http.NoBody
	if in.hasBody {
		body = bytes.NewReader(in.body)
	}
	r, err := http.NewRequestWithContext(ctx, in.method, in.target, body)
	if err != nil { // what net/http's server would refuse before any door
		r, _ = http.NewRequestWithContext(ctx, in.method, h.Door.Base()+"/", body)
	}
	r.RequestURI, r.RemoteAddr = in.target, "192.0.2.9:1"
	r.Header = in.header
	if r.Header.Get("Authorization") == "" {
		r.Header.Set("Authorization", "Bearer "+credential)
	}
	return send(h.Door, r)
}

// judge holds an answer to what no input may break.
func (h Hostile) judge(op rest.Op, in *input, a *answer) error {
	word := code(a.Body.Bytes())
	if a.Code >= 500 && !h.Tolerate(a.Code, word) {
		return fmt.Errorf("status %d %s", a.Code, word)
	}
	if a.Code >= 400 && a.Code < 500 || a.Code >= 500 && !h.Tolerate(a.Code, word) {
		if strings.Contains(a.Body.String(), canary) {
			return fmt.Errorf("a rejected value came back")
		}
	}
	if a.Code == http.StatusNotFound && a.info.Route == "" || a.Code == http.StatusMethodNotAllowed || a.info.Route == "" {
		return failureForm(h.Door, a.Code, a.Body.Bytes()) // the path led elsewhere
	}
	return a.check(h.Door, op)
}
