package rest

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"headgate/internal/access"
	"headgate/internal/fault"
)

const metaKey = "operation"

// plain makes huma's operation as it serves it: what it takes, in no document.
// The limits are ours, so huma's own are off.
func (o *operation) plain() huma.Operation {
	return huma.Operation{
		Method: o.Method, Path: o.Path, OperationID: o.ID, DefaultStatus: o.Status, MaxBodyBytes: -1, BodyReadTimeout: -1, Hidden: true,
		Metadata: map[string]any{metaKey: o},
	}
}

// describe makes it as the document shows it, with guards, answers and
// failures, whose schemas go into the registry.
func (d *Door) describe(o *operation, schemas huma.Registry) huma.Operation {
	hop := o.plain()
	hop.Hidden, hop.Summary, hop.Description, hop.Tags = false, o.Summary, o.Detail, o.Tags
	hop.Extensions, hop.Security = map[string]any{}, []map[string][]string{}
	hop.Responses = d.failures(o, schemas)
	if o.out != reflect.TypeFor[None]() {
		hop.Responses[strconv.Itoa(o.Status)] = o.success(schemas)
	}
	if !o.Public {
		for _, name := range slices.Sorted(maps.Keys(d.cfg.Credentials.schemes())) {
			hop.Security = append(hop.Security, map[string][]string{name: {}})
		}
	}
	if o.Permission != "" {
		hop.Extensions["x-permission"] = string(o.Permission)
		if scope := access.ScopeOf(o.Permission); scope != "" {
			hop.Extensions["x-scope"] = string(scope)
		}
	}
	if o.MayWait() {
		waits := &huma.Schema{Type: huma.TypeObject}
		if d.cfg.Waits != nil {
			waits = schemas.Schema(reflect.PointerTo(d.cfg.Waits), true, "")
		}
		hop.Responses["202"] = &huma.Response{Description: "Accepted: the organization's policy wants a person's approval first. Ask again for the same once it is given.",
			Content: map[string]*huma.MediaType{"application/json": {Schema: waits}}}
		hop.Extensions["x-gate"] = strings.Trim(o.Gate+" "+o.Late, " ")
	}
	if o.Idempotent {
		hop.Parameters = append(hop.Parameters, &huma.Param{
			Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: "string"},
			Description: "Repeating the request with the same key and body within 24 hours returns the stored answer.",
		})
	}
	return hop
}

// success describes the answer.
func (o *operation) success(schemas huma.Registry) *huma.Response {
	content := map[string]*huma.MediaType{}
	switch o.streams {
	case "":
		content["application/json"] = &huma.MediaType{Schema: schemas.Schema(reflect.PointerTo(o.out), true, "")}
	case "application/json":
		content[o.streams] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeObject}}
	default:
		content[o.streams] = &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	}
	return &huma.Response{Description: http.StatusText(o.Status), Content: content}
}

// scribe is the adapter of an API that serves nothing.
type scribe struct{}

func (scribe) Handle(*huma.Operation, func(huma.Context))   {}
func (scribe) ServeHTTP(http.ResponseWriter, *http.Request) {}

// describeAll makes the document: every operation is registered once more, with
// all that is said of it.
func (d *Door) describeAll() *huma.OpenAPI {
	api := d.newAPI(scribe{})
	doc := api.OpenAPI()
	for _, o := range d.ops {
		o.register(api, d.describe(o, doc.Components.Schemas))
		hop := itemOperations(doc.Paths[o.Path])[o.Method]
		for _, status := range o.Statuses {
			same := *hop.Responses[strconv.Itoa(o.Status)]
			same.Description = http.StatusText(status)
			hop.Responses[strconv.Itoa(status)] = &same
		}
		if o.takesBody && hop.RequestBody != nil {
			hop.RequestBody.Required = o.bodyNeed
		}
	}
	return doc
}

// raises lists the kinds of faults an operation may answer.
func (o *operation) raises() []fault.Kind {
	kinds := []fault.Kind{fault.Internal, fault.Throttled, fault.Unavailable, fault.Invalid}
	if !o.Public {
		kinds = append(kinds, fault.BadCredential, fault.Forbidden)
	}
	if o.takesBody || o.rawType != "" {
		kinds = append(kinds, fault.TooLarge, fault.MediaType)
	}
	if strings.Contains(o.Path, "{") && !o.Makes {
		kinds = append(kinds, fault.NotFound)
	}
	if o.Idempotent || o.MayWait() { // a key used before; too many that wait
		kinds = append(kinds, fault.Conflict)
	}
	kinds = append(kinds, o.Errors...)
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// failures describes them by status, with the door's words.
func (d *Door) failures(o *operation, schemas huma.Registry) map[string]*huma.Response {
	words := map[int][]string{}
	bodies := map[int]any{}
	note := func(f *fault.Error) {
		status, body := d.cfg.Form.Answer(f)
		bodies[status] = body
		if word := d.cfg.Form.Code(f); !slices.Contains(words[status], word) {
			words[status] = append(words[status], word)
		}
	}
	if !o.Public {
		for _, f := range d.cfg.CredentialFaults {
			note(f)
		}
	}
	for _, f := range o.Faults {
		note(f)
	}
	for _, k := range o.raises() {
		note(&fault.Error{Kind: k})
		if k == fault.Invalid {
			note(ErrInvalid)
		}
	}
	responses := map[string]*huma.Response{}
	for status, body := range bodies {
		schema := schemas.Schema(reflect.TypeOf(body), true, "")
		responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status) + ": " + strings.Join(words[status], ", "),
			Content:     map[string]*huma.MediaType{"application/json": {Schema: schema}},
		}
	}
	return responses
}

// finish reads back what huma found out about the body.
func (d *Door) finish(o *operation) {
	hop := o.served
	if !o.takesBody || hop.RequestBody == nil {
		return
	}
	schema := hop.RequestBody.Content["application/json"].Schema
	if schema.Ref != "" {
		schema = d.api.OpenAPI().Components.Schemas.SchemaFromRef(schema.Ref)
	}
	if extra, ok := schema.AdditionalProperties.(bool); schema.Type != huma.TypeObject || ok && extra && len(schema.Properties) > 0 {
		// encoding/json folds the case of names; only a closed list of fields
		// makes that harmless.
		panic(o.ID + ": the body must be an object with a closed list of fields")
	}
	o.bodyNeed = len(schema.Required) > 0
	hop.RequestBody.Required = o.bodyNeed
}

// documented returns the document's entry for an operation, or nil.
func (d *Door) documented(op Op) *huma.Operation {
	item := d.book().Paths[op.Path]
	if item == nil {
		return nil
	}
	return itemOperations(item)[op.Method]
}

func itemOperations(item *huma.PathItem) map[string]*huma.Operation {
	all := map[string]*huma.Operation{
		http.MethodGet: item.Get, http.MethodPost: item.Post, http.MethodPut: item.Put,
		http.MethodPatch: item.Patch, http.MethodDelete: item.Delete,
	}
	maps.DeleteFunc(all, func(_ string, hop *huma.Operation) bool { return hop == nil })
	return all
}

// OpenAPI returns the door's document as huma holds it, for tools that walk
// its schemas. It is made by the first call, and kept.
func (d *Door) OpenAPI() *huma.OpenAPI { return d.book() }

// Document returns the OpenAPI 3.1 text served at {base}/openapi.json. The
// first call fixes it.
func (d *Door) Document() ([]byte, error) { return d.document() }

// Check reports operations that are not in the document and the other way
// round. A test of each door calls it.
func (d *Door) Check() error {
	var errs []error
	known := map[string]bool{}
	for _, o := range d.ops {
		known[o.Method+" "+o.Path] = true
		if hop := d.documented(o.Op); hop == nil || hop.OperationID != o.ID {
			errs = append(errs, fmt.Errorf("%s %s (%s) is served but not documented", o.Method, o.Path, o.ID))
		}
	}
	for path, item := range d.book().Paths {
		for method := range itemOperations(item) {
			if !known[method+" "+path] {
				errs = append(errs, fmt.Errorf("%s %s is documented but not served", method, path))
			}
		}
	}
	return errors.Join(errs...)
}
