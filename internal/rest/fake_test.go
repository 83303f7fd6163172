package rest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/fault"
	"headgate/internal/rest"
	"headgate/internal/seal"
)

const (
	ownerKey  = "mcp_sk_owner"
	viewerKey = "mcp_sk_viewer"
	otherKey  = "mcp_sk_colleague"
	session   = "session.token"
)

var errMissing = fault.New(fault.NotFound, "thing.missing", "There is no such thing.")

var errTest = errors.New("broken")

type thing struct {
	ID    string      `json:"id"`
	Name  string      `json:"name"`
	Tags  []string    `json:"tags"`
	Extra rest.Object `json:"extra"`
	Made  rest.Time   `json:"createdAt"`
	Big   int64       `json:"big"`
}

type things struct {
	Things []thing `json:"things"`
}

type makeThing struct {
	Body makeThingBody
}

type makeThingBody struct {
	Name   string      `json:"name" maxLength:"20"`
	Link   string      `json:"link,omitempty" format:"uri"`
	Mail   string      `json:"mail,omitempty" format:"email"`
	Level  int         `json:"level,omitempty" minimum:"1" maximum:"9"`
	Extra  rest.Object `json:"extra,omitempty"`
	Inner  *inner      `json:"inner,omitempty"`
	Secret string      `json:"secret,omitempty" pattern:"^[a-z]+$"`
}

type inner struct {
	Kind string `json:"kind" enum:"a,b"`
}

type byID struct {
	ID string `path:"id" maxLength:"64"`
}

type listThings struct {
	rest.Page
	Cursor string `query:"cursor" maxLength:"500"`
	Filter string `query:"filter" maxLength:"20"`
}

type optional struct {
	Body struct {
		Cursor string `json:"cursor,omitempty"`
	}
}

// fake is a door over nothing, with an operation for each promise.
type fake struct {
	*rest.Door
	mu      sync.Mutex
	made    int
	asked   int // how often Authenticate was
	quota   rest.Quota
	limited error
	block   chan struct{} // when set, makeThing waits for it
	started chan struct{}
	final   bool // fail had an effect
	fail    error
}

type option func(*rest.Config)

func newFake(t testing.TB, opts ...option) *fake {
	t.Helper()
	keys, _, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{}
	cfg := rest.Config{
		Base: "/v1", Title: "Fake", Version: "1", Form: rest.PlatformForm(nil),
		Credentials:  rest.Credentials{Prefixes: []string{"mcp_sk_", "sk_", "sk_live_", "pk_live_", "ok_"}, Cookie: "__Host-session"},
		Authenticate: f.authenticate,
		Limit:        func(*http.Request, *access.Principal) (rest.Quota, error) { return f.quota, f.limited },
		Idempotency:  &memory{entries: map[string]*entry{}},
		Sealer:       keys,
		MaxBody:      1000,
	}
	for _, o := range opts {
		o(&cfg)
	}
	f.Door = rest.New(cfg)
	f.register()
	if err := f.Check(); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fake) authenticate(_ *http.Request, c rest.Credential) (*access.Principal, error) {
	f.asked++
	p := &access.Principal{Kind: access.PersonalKey, ID: "key_1", Organization: "org_1", User: "user_1", Role: access.Owner, Scopes: access.Every}
	switch c.Value {
	case ownerKey:
	case otherKey:
		p.ID, p.User = "key_2", "user_2"
	case viewerKey:
		p.Role = access.Viewer
	case session:
		p.Kind = access.Session
	default:
		return nil, rest.ErrCredentialForm.Saying("That is no credential of ours.")
	}
	return p, nil
}

func (f *fake) register() {
	rest.Handle(f.Door, rest.Op{
		Method: "GET", Path: "/things", ID: "listThings", Summary: "List things", Tags: []string{"things"}, Permission: access.ServicesRead,
	}, func(ctx context.Context, in *listThings) (*rest.OK[things, rest.Paged], error) {
		meta := in.Of(41)
		at := 0
		if in.Cursor != "" {
			if err := rest.OpenCursor(ctx, in.Cursor, in.Filter, &at); err != nil {
				return nil, err
			}
		}
		next, err := rest.Cursor(ctx, in.Filter, at+in.Limit)
		meta.NextCursor = next
		return rest.Ok(things{}, meta), err
	})
	rest.Handle(f.Door, rest.Op{
		Method: "POST", Path: "/things", ID: "makeThing", Summary: "Make a thing", Tags: []string{"things"},
		Permission: access.ServicesAdmin, Status: 201, Idempotent: true, Errors: []fault.Kind{fault.Unpaid},
	}, f.make)
	rest.Handle(f.Door, rest.Op{
		Method: "GET", Path: "/things/{id}", ID: "getThing", Summary: "A thing", Tags: []string{"things"}, Permission: access.ServicesRead,
	}, func(_ context.Context, in *byID) (*thing, error) { return f.get(in.ID) })
	rest.Handle(f.Door, rest.Op{
		Method: "DELETE", Path: "/things/{id}", ID: "removeThing", Summary: "Remove a thing", Tags: []string{"things"}, Permission: access.ServicesAdmin,
	}, func(context.Context, *byID) (*rest.None, error) { return nil, nil })
	rest.Handle(f.Door, rest.Op{
		Method: "POST", Path: "/search", ID: "search", Summary: "Search", Guard: rest.AnyPrincipal,
	}, func(_ context.Context, in *optional) (*thing, error) { return &thing{Name: in.Body.Cursor}, nil })
	rest.Handle(f.Door, rest.Op{
		Method: "GET", Path: "/public", ID: "public", Summary: "For all", Public: true,
	}, func(ctx context.Context, _ *rest.None) (*thing, error) {
		return &thing{Name: "<a & b> by " + rest.Principal(ctx).Kind.String()}, nil
	})
	rest.Handle(f.Door, rest.Op{
		Method: "GET", Path: "/keys", ID: "listKeys", Summary: "Keys", Permission: access.KeysManage, RefuseKeys: []string{"sk_", "mcp_sk_"},
	}, func(context.Context, *rest.None) (*thing, error) { return &thing{}, nil })
	rest.Stream(f.Door, rest.Op{
		Method: "GET", Path: "/events", ID: "events", Summary: "Events", Permission: access.ServicesRead,
	}, "text/event-stream", func(context.Context, *rest.None) (func(http.ResponseWriter), error) {
		if f.fail != nil {
			return nil, f.fail
		}
		return func(w http.ResponseWriter) { _, _ = io.WriteString(w, "data: 1\n\n") }, nil
	})
}

func (f *fake) make(ctx context.Context, in *makeThing) (*rest.OK[thing, rest.Meta], error) {
	if f.block != nil {
		close(f.started)
		<-f.block
	}
	if f.fail != nil {
		if f.final {
			rest.Final(ctx)
		}
		return nil, f.fail
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.made++
	return rest.Ok(thing{ID: "thing_1", Name: in.Body.Name, Extra: in.Body.Extra, Made: rest.At(time.Unix(1, 5e6))}, rest.Meta{Message: "Made"}), nil
}

func (f *fake) get(id string) (*thing, error) {
	switch id {
	case "panic":
		panic("secret-in-a-panic")
	case "broken":
		return nil, errors.New("pq: secret-in-an-error")
	case "slow":
		return nil, context.DeadlineExceeded
	case "one":
		return &thing{ID: "one", Big: 1<<62 + 1}, nil
	}
	return nil, errMissing
}

// memory is an idempotency store.
type memory struct {
	mu      sync.Mutex
	entries map[string]*entry
}

type entry struct {
	print  [32]byte
	answer []byte
}

func (m *memory) Begin(_ context.Context, org, key string, print [32]byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[org+" "+key]
	switch {
	case e == nil:
		m.entries[org+" "+key] = &entry{print: print}
		return nil, nil
	case e.print != print:
		return nil, rest.ErrKeyReused
	case e.answer == nil:
		return nil, rest.ErrInFlight
	}
	return e.answer, nil
}

func (m *memory) Finish(_ context.Context, org, key string, answer []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.entries[org+" "+key].answer = answer
	return nil
}

func (m *memory) Abandon(_ context.Context, org, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.entries, org+" "+key)
	return nil
}

// call sends one request with the owner's key unless headers say otherwise.
// Headers are "Name: value"; "-Name" removes one.
func (f *fake) call(method, target, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+ownerKey)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if strings.HasPrefix(name, "-") {
			r.Header.Del(name[1:])
			continue
		}
		if strings.HasPrefix(name, "+") {
			r.Header.Add(name[1:], value)
			continue
		}
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	f.ServeHTTP(w, r)
	return w
}
