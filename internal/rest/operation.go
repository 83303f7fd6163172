package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"headgate/internal/access"
	"headgate/internal/fault"
)

// Op declares one operation. Exactly one of Permission, Guard and Public says
// who may: an operation that forgets it does not register.
type Op struct {
	Method  string
	Path    string // below the door's base: "/users/{id}"
	ID      string // "getUser"; unique in the door
	Summary string
	Detail  string // more for the document
	Tags    []string

	Permission access.Permission             // judged by access.Require
	Guard      func(*access.Principal) error // for doors whose rights are no permissions; see AnyPrincipal
	Public     bool                          // no credential is looked at
	Audience   []access.Kind                 // when set, no other kind of principal
	RefuseKeys []string                      // key prefixes answered 403 by form alone, before any look-up

	Status     int            // of success; 200, or 204 when the handler returns None
	Statuses   []int          // further ones of success, chosen by SetStatus
	Errors     []fault.Kind   // what the handler may raise beyond what every operation may
	Faults     []*fault.Error // likewise, where the door has words of its own for them
	Idempotent bool           // takes Idempotency-Key
	Makes      bool           // makes what its path names when it is not there, so it never misses it
	Gate       string         // what Config.Gate may hold it back for; it then answers 202
	Late       string         // likewise, but asked only when the handler fails with Config.Needs
	MaxBody    int64          // bytes; the door's limit when 0
	Timeout    time.Duration  // the door's when 0; streams have none
}

// MayWait reports whether the operation may be held back, and answer 202.
func (o Op) MayWait() bool { return o.Gate != "" || o.Late != "" }

// None is the input or output of an operation that takes or answers nothing.
type None struct{}

// AnyPrincipal is the Guard of operations open to everybody who has a valid
// credential.
func AnyPrincipal(*access.Principal) error { return nil }

// operation is an Op with what registering it found out.
type operation struct {
	Op
	pattern   string // with the base: "/v1/users/{id}"
	takesBody bool   // the input has a Body
	bodyNeed  bool   // that has required fields
	rawType   string // the content type of a RawBody
	stream    bool
	streams   string       // the content type of a stream
	out       reflect.Type // what success answers

	served   *huma.Operation // as huma serves it
	register func(huma.API, huma.Operation)
}

// output is what every handler gives huma. Its body is of no type that huma
// knows: the schemas of answers are for the document alone, and most of what
// one takes in memory.
type output struct {
	Status int
	Body   any
}

// Handle registers an operation. I is a struct of path, query and header
// parameters and perhaps a Body, in huma's tags; O is the body of success (a
// named type, an OK on the Platform API, or None). The handler runs after
// every guard of doc.go and returns a fault, or any other error, which the
// client sees as an internal one.
func Handle[I, O any](d *Door, op Op, handler func(context.Context, *I) (*O, error)) {
	o := d.prepare(op, reflect.TypeFor[I](), reflect.TypeFor[O]())
	if o.Status == http.StatusNoContent {
		register(d, o, func(ctx context.Context, in *I) (*None, error) {
			_, err := handler(ctx, in)
			return nil, err
		})
		return
	}
	register(d, o, func(ctx context.Context, in *I) (*output, error) {
		out, err := handler(ctx, in)
		if err != nil {
			return nil, err
		}
		if out == nil {
			return nil, fmt.Errorf("%s returned neither an answer nor an error", o.ID)
		}
		fillLists(reflect.ValueOf(out))
		status := o.Status
		if st := stateOf(ctx); st.status != 0 {
			status = st.status
		}
		return &output{status, out}, nil
	})
}

type streamed struct{ Body func(huma.Context) }

// Stream registers an operation that writes its own answer: events, exports.
// The handler returns the writer's function once nothing can fail any more;
// until then errors are answered like everybody's. Streams should end when
// request.Draining says so.
func Stream[I any](d *Door, op Op, contentType string, handler func(context.Context, *I) (func(http.ResponseWriter), error)) {
	o := d.prepare(op, reflect.TypeFor[I](), reflect.TypeFor[streamed]())
	o.stream, o.streams = true, contentType
	register(d, o, func(ctx context.Context, in *I) (*streamed, error) {
		write, err := handler(ctx, in)
		if err != nil {
			return nil, err
		}
		return &streamed{func(c huma.Context) {
			c.SetHeader("Content-Type", contentType)
			write(c.BodyWriter().(http.ResponseWriter))
		}}, nil
	})
}

// prepare checks the declaration. Mistakes here are bugs found at start, hence
// the panics.
func (d *Door) prepare(op Op, in, out reflect.Type) *operation {
	who := 0
	for _, has := range []bool{op.Permission != "", op.Guard != nil, op.Public} {
		if has {
			who++
		}
	}
	switch {
	case who != 1:
		panic(fmt.Sprintf("%s: an operation has exactly one of Permission, Guard, Public", op.ID))
	case op.Permission != "" && !access.Known(op.Permission):
		panic(fmt.Sprintf("%s: no such permission: %s", op.ID, op.Permission))
	case op.Method == "" || !strings.HasPrefix(op.Path, "/") || op.ID == "" || op.Summary == "":
		panic(fmt.Sprintf("%s %s (%s): an operation needs a method, a path, an id and a summary", op.Method, op.Path, op.ID))
	case op.MayWait() && op.Public:
		panic(fmt.Sprintf("%s: a gate needs a principal", op.ID))
	case op.Idempotent && (op.Public || d.cfg.Idempotency == nil || d.cfg.Sealer == nil):
		panic(fmt.Sprintf("%s: Idempotent needs a principal and a door with a store and a sealer", op.ID))
	case slices.ContainsFunc(d.ops, func(o *operation) bool { return o.ID == op.ID }):
		panic("two operations are called " + op.ID)
	case out != reflect.TypeFor[None]() && out.Name() == "":
		panic(op.ID + ": the answer needs a named type, for the document")
	}
	for _, t := range []reflect.Type{in, out} {
		if name := unseen(t, map[reflect.Type]bool{}); name != "" {
			panic(fmt.Sprintf("%s: %s is embedded, so it must be exported: huma passes over it otherwise", op.ID, name))
		}
	}
	if op.Status == 0 {
		op.Status = http.StatusOK
		if out == reflect.TypeFor[None]() {
			op.Status = http.StatusNoContent
		}
	}
	o := &operation{Op: op, pattern: d.cfg.Base + op.Path, out: out}
	_, o.takesBody = in.FieldByName("Body")
	if raw, ok := in.FieldByName("RawBody"); ok {
		o.rawType = raw.Tag.Get("contentType")
	}
	d.ops = append(d.ops, o)
	return o
}

// unseen finds an embedded struct of an unexported type in what an operation
// takes or answers, however deep. encoding/json sees its fields, huma does not.
func unseen(t reflect.Type, seen map[reflect.Type]bool) string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return unseen(t.Elem(), seen)
	case reflect.Struct:
	default:
		return ""
	}
	if seen[t] {
		return ""
	}
	seen[t] = true
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && !f.IsExported() {
			return f.Name
		}
		if f.IsExported() {
			if name := unseen(f.Type, seen); name != "" {
				return name
			}
		}
	}
	return ""
}

// register hands the operation to huma, with every error already a failure.
func register[I, O any](d *Door, o *operation, handler func(context.Context, *I) (*O, error)) {
	o.register = func(api huma.API, hop huma.Operation) {
		huma.Register(api, hop, func(ctx context.Context, in *I) (*O, error) {
			st := stateOf(ctx)
			ctx, err := d.gate(ctx, o.Op, o.Gate, in)
			if err != nil {
				return nil, err
			}
			st.ran = true
			out, err := handler(ctx, in)
			if o.Late != "" && d.cfg.Needs != nil && errors.Is(err, d.cfg.Needs) { // nothing has happened yet
				st.ran = false
				if ctx, err = d.gate(ctx, o.Op, o.Late, in); err != nil {
					return nil, err
				}
				st.ran = true
				out, err = handler(ctx, in)
			}
			if err != nil {
				return nil, d.failure(ctx, err)
			}
			return out, nil
		})
	}
	o.register(d.api, o.plain())
	d.finish(o)
}
