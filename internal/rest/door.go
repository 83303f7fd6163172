package rest

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"headgate/internal/access"
	"headgate/internal/fault"
)

// Config makes a Door.
type Config struct {
	Base    string // "/v1"
	Title   string
	Version string
	Detail  string // the document's introduction
	Form    Form

	// Credentials finds the credential; Authenticate says whose it is. The
	// credential is well-formed and present when Authenticate is called.
	Credentials  Credentials
	Authenticate func(*http.Request, Credential) (*access.Principal, error)

	// Credential faults that have words of their own on this door, for the document.
	CredentialFaults []*fault.Error

	// Limit takes one request from the principal's rate, or, where there is none
	// (public operations, requests refused before it was known: p is nil), from
	// the address's. May be nil. A Quota with a Limit above 0 is shown in
	// X-RateLimit-*, on refusals too.
	Limit func(r *http.Request, p *access.Principal) (Quota, error)

	// AllowOrigin judges the Origin ("" when there is none) once the principal
	// is known, for a door that other sites' pages call. The door then answers
	// CORS itself; its server.Route must leave origins to it (OwnOrigin). Nil:
	// the server's allowlist is the only judge.
	AllowOrigin func(r *http.Request, p *access.Principal, origin string) bool

	// Gate may hold an operation back at op.Gate, once its input is found valid:
	// what waits is the answer then, with status 202, and the handler does not
	// run; else it runs with the context that is returned. input is the same text
	// for the same request. Nil: nothing is held back.
	Gate func(ctx context.Context, op Op, input []byte) (agreed context.Context, waits any, err error)
	// Waits is the type of what waits, for the document.
	Waits reflect.Type

	// Needs is the fault of handlers that have changed nothing yet and may go on
	// only past the gate of their operation's Late. May be nil.
	Needs error

	// Failed is told of every fault that is answered with 500 or above; it must
	// be quick. May be nil.
	Failed func(ctx context.Context, f *fault.Error)

	Idempotency IdempotencyStore // nil: no operation may be Idempotent
	Sealer      Sealer           // seals stored answers and cursors

	MaxBody int64         // bytes; 1 MiB when 0
	Timeout time.Duration // of a handler; a minute when 0
}

// Quota is what a rate limit has left for a principal.
type Quota struct {
	Limit, Remaining int64
	Reset            time.Time
}

// Door is one REST API: its operations, its document, its form of errors. It
// is an http.Handler for every path at and below its base.
type Door struct {
	cfg      Config
	mux      *http.ServeMux
	api      huma.API // serves: it knows what operations take, and nothing else
	ops      []*operation
	book     func() *huma.OpenAPI // the document, made when it is first asked for
	document func() ([]byte, error)
}

// New returns a door without operations. Register them before it serves.
func New(cfg Config) *Door {
	tame()
	if cfg.MaxBody == 0 {
		cfg.MaxBody = 1 << 20
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	d := &Door{cfg: cfg, mux: http.NewServeMux()}
	d.api = d.newAPI(adapter{d})
	d.book = sync.OnceValue(d.describeAll)
	d.document = sync.OnceValues(func() ([]byte, error) { return json.MarshalIndent(d.book(), "", "  ") })
	d.mux.HandleFunc("GET "+cfg.Base+"/openapi.json", d.serveDocument)
	return d
}

func (d *Door) newAPI(a huma.Adapter) huma.API {
	format := huma.Format{Marshal: writeRendered, Unmarshal: json.Unmarshal}
	return huma.NewAPI(huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI:    "3.1.0",
			Info:       &huma.Info{Title: d.cfg.Title, Version: d.cfg.Version, Description: d.cfg.Detail},
			Servers:    []*huma.Server{{URL: d.cfg.Base}},
			Components: &huma.Components{SecuritySchemes: d.cfg.Credentials.schemes()},
		},
		Formats:                      map[string]huma.Format{"application/json": format},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{d.transform},
	}, a)
}

// Base returns the path the door lives at.
func (d *Door) Base() string { return d.cfg.Base }

// Form returns how the door words failures.
func (d *Door) Form() Form { return d.cfg.Form }

func (d *Door) serveDocument(w http.ResponseWriter, r *http.Request) {
	w = claim(w)
	doc, err := d.document()
	if err := d.stranger(w, r, err); err != nil {
		d.Refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/openapi+json")
	_, _ = w.Write(doc)
}

// ServeHTTP answers everything at and below the base, unknown paths and
// methods included.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w, r = d.identify(w, r)
	if d.cfg.AllowOrigin != nil {
		crossOrigin(w.Header(), r.Header.Get("Origin"))
		if preflight(w, r) {
			return
		}
	}
	if err := d.cfg.Credentials.CheckURL(r.URL); err != nil {
		d.Refuse(w, r, d.stranger(w, r, err))
		return
	}
	front := &front{ResponseWriter: w}
	d.mux.ServeHTTP(front, r)
	switch {
	case front.claimed:
	case front.status == http.StatusMethodNotAllowed:
		w.Header().Set("Allow", front.own.Get("Allow"))
		d.Refuse(w, r, d.stranger(w, r, ErrNoMethod))
	default:
		d.Refuse(w, r, d.stranger(w, r, ErrNoRoute))
	}
}

// front swallows what the mux itself answers: 404, 405, and the redirects of
// unclean paths, which are 404 here, where one path has one spelling. A
// registered handler claims the request and gets the real writer.
type front struct {
	http.ResponseWriter
	claimed bool
	status  int
	own     http.Header
}

func (f *front) Header() http.Header {
	if f.own == nil {
		f.own = http.Header{}
	}
	return f.own
}
func (f *front) WriteHeader(status int)      { f.status = status }
func (f *front) Write(b []byte) (int, error) { return len(b), nil }

func claim(w http.ResponseWriter) http.ResponseWriter {
	if f, ok := w.(*front); ok {
		f.claimed = true
		return f.ResponseWriter
	}
	return w
}

// adapter gives huma's operations to the door's mux, guards in front.
type adapter struct{ door *Door }

func (a adapter) Handle(hop *huma.Operation, next func(huma.Context)) {
	o := hop.Metadata[metaKey].(*operation)
	o.served = hop
	a.door.mux.HandleFunc(o.Method+" "+o.pattern, func(w http.ResponseWriter, r *http.Request) {
		a.door.serve(o, claim(w), r, func(w http.ResponseWriter, r *http.Request) {
			next(humago.NewContext(hop, r, w))
		})
	})
}

func (a adapter) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.door.ServeHTTP(w, r) }

// Operations returns the operations in the order they were registered, for the
// access matrix, the hostile-input generator and the reference pages.
func (d *Door) Operations() []Op {
	ops := make([]Op, len(d.ops))
	for i, o := range d.ops {
		ops[i] = o.Op
	}
	return ops
}

// Refuse answers an error in the door's form.
func (d *Door) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	status, body := d.answer(w.Header(), r.Context(), faultOf(r.Context(), err))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}
