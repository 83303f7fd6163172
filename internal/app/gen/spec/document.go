package spec

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Document is one door's API.
type Document struct {
	Title      string
	Detail     string
	Base       string // "/v1"
	Operations []*Operation
	Schemas    map[string]*Schema // by name
}

// Operation is one method of one path.
type Operation struct {
	ID         string
	Method     string
	Path       string // with the base: "/v1/users/{id}"
	Summary    string
	Detail     string
	Tag        string // the first; "" when there is none
	Public     bool   // takes no credential
	Permission string
	Scope      string
	Idempotent bool    // takes Idempotency-Key
	Gated      bool    // may be held back for a person's approval: 202
	Waits      *Schema // what it then answers
	Params     []Param
	Body       *Schema // nil when there is none
	BodyType   string  // its media type
	Status     int     // of success
	Answer     *Schema // nil for 204
	AnswerType string  // its media type
	Failures   []Failure
}

// Param is a path, query or header parameter; Idempotency-Key is not among them.
type Param struct {
	Name     string
	In       string // path, query, header
	Doc      string
	Required bool
	Schema   *Schema
}

// Failure is a status an operation may answer, with the door's words for it.
type Failure struct {
	Status int
	Doc    string // "Not Found: RESOURCE_NOT_FOUND"
}

// Streams reports whether the answer is events or a download, which may be a
// JSON document too long to be read at once: its schema then names no field.
func (o *Operation) Streams() bool {
	return o.Answer != nil && (o.AnswerType != "application/json" || o.Answer.Struct() && len(o.Answer.Properties) == 0)
}

// Envelope returns data and meta when the answer is {success, data, meta}.
func (o *Operation) Envelope() (data, meta *Schema, ok bool) { return o.Answer.Envelope() }

// Envelope returns data and meta of a schema that is {success, data, meta}.
func (s *Schema) Envelope() (data, meta *Schema, ok bool) {
	if s == nil || len(s.Properties) != 3 || s.Properties["success"] == nil {
		return nil, nil, false
	}
	data, meta = s.Properties["data"], s.Properties["meta"]
	return data, meta, data != nil && meta != nil
}

// InPath and InQuery return the parameters of one place; InQuery those of
// headers too.
func (o *Operation) InPath() []Param  { return o.params(func(p Param) bool { return p.In == "path" }) }
func (o *Operation) InQuery() []Param { return o.params(func(p Param) bool { return p.In != "path" }) }

func (o *Operation) params(keep func(Param) bool) (list []Param) {
	for _, p := range o.Params {
		if keep(p) {
			list = append(list, p)
		}
	}
	return list
}

type rawDocument struct {
	Info struct {
		Title       string `json:"title"`
		Description string `json:"description"`
	} `json:"info"`
	Servers []struct {
		URL string `json:"url"`
	} `json:"servers"`
	Paths      map[string]map[string]*rawOperation `json:"paths"`
	Components struct {
		Schemas map[string]*Schema `json:"schemas"`
	} `json:"components"`
}

type rawOperation struct {
	ID          string                `json:"operationId"`
	Summary     string                `json:"summary"`
	Description string                `json:"description"`
	Tags        []string              `json:"tags"`
	Security    []map[string][]string `json:"security"`
	Permission  string                `json:"x-permission"`
	Scope       string                `json:"x-scope"`
	Parameters  []struct {
		Name        string  `json:"name"`
		In          string  `json:"in"`
		Description string  `json:"description"`
		Required    bool    `json:"required"`
		Schema      *Schema `json:"schema"`
	} `json:"parameters"`
	RequestBody *rawBody            `json:"requestBody"`
	Responses   map[string]*rawBody `json:"responses"`
	Gate        string              `json:"x-gate"`
}

type rawBody struct {
	Description string `json:"description"`
	Content     map[string]struct {
		Schema *Schema `json:"schema"`
	} `json:"content"`
}

// Parse reads a document. Operations come in the given order of ids, and those
// it does not name by path and method behind them.
func Parse(text []byte, order []string) (*Document, error) {
	var raw rawDocument
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	d := &Document{Title: raw.Info.Title, Detail: raw.Info.Description, Schemas: raw.Components.Schemas}
	if len(raw.Servers) > 0 {
		d.Base = raw.Servers[0].URL
	}
	for name, s := range d.Schemas {
		s.Name = name
	}
	for path, methods := range raw.Paths {
		for method, op := range methods {
			o, err := d.operation(d.Base+path, strings.ToUpper(method), op)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", strings.ToUpper(method), path, err)
			}
			d.Operations = append(d.Operations, o)
		}
	}
	for _, s := range d.Schemas {
		if err := d.resolve(s); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(d.Operations, func(a, b *Operation) int {
		return cmp.Or(cmp.Compare(place(order, a.ID), place(order, b.ID)), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Method, b.Method))
	})
	return d, nil
}

func place(order []string, id string) int {
	if i := slices.Index(order, id); i >= 0 {
		return i
	}
	return len(order)
}

func (d *Document) operation(path, method string, raw *rawOperation) (*Operation, error) {
	if raw.ID == "" {
		return nil, fmt.Errorf("has no operationId")
	}
	o := &Operation{
		ID: raw.ID, Method: method, Path: path, Summary: raw.Summary, Detail: raw.Description,
		Public: len(raw.Security) == 0, Permission: raw.Permission, Scope: raw.Scope, Gated: raw.Gate != "",
	}
	if len(raw.Tags) > 0 {
		o.Tag = raw.Tags[0]
	}
	for _, p := range raw.Parameters {
		if err := d.resolve(p.Schema); err != nil {
			return nil, err
		}
		if p.Name == "Idempotency-Key" {
			o.Idempotent = true
			continue
		}
		if p.In == "cookie" { // a browser's, never given by hand
			continue
		}
		o.Params = append(o.Params, Param{p.Name, p.In, p.Description, p.Required, d.follow(p.Schema)})
	}
	if n := strings.Count(path, "{"); n != len(o.InPath()) {
		return nil, fmt.Errorf("has %d parameters in its path and documents %d (is one in an unexported embedded struct?)", n, len(o.InPath()))
	}
	var err error
	if raw.RequestBody != nil {
		if o.BodyType, o.Body, err = d.content(raw.RequestBody); err != nil {
			return nil, err
		}
	}
	return o, d.responses(o, raw.Responses)
}

func (d *Document) responses(o *Operation, raw map[string]*rawBody) error {
	for _, text := range slices.Sorted(maps.Keys(raw)) {
		status, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("response %q is no status", text)
		}
		if status >= 400 {
			o.Failures = append(o.Failures, Failure{status, raw[text].Description})
			continue
		}
		mediaType, answer, err := d.content(raw[text])
		if err != nil {
			return err
		}
		if o.Gated && status == http.StatusAccepted {
			o.Waits = answer // clients take that as an error
			continue
		}
		if o.Status != 0 && (answer == nil || answer != o.Answer) {
			return fmt.Errorf("has two answers of success: %d and %d", o.Status, status)
		}
		if o.Status == 0 {
			o.Status, o.AnswerType, o.Answer = status, mediaType, answer
		}
	}
	if o.Status == 0 {
		return fmt.Errorf("has no answer of success")
	}
	return nil
}

func (d *Document) content(b *rawBody) (mediaType string, s *Schema, err error) {
	if len(b.Content) > 1 {
		return "", nil, fmt.Errorf("has more than one media type")
	}
	for mediaType, c := range b.Content {
		if err := d.resolve(c.Schema); err != nil {
			return "", nil, err
		}
		return mediaType, d.follow(c.Schema), nil
	}
	return "", nil, nil
}
