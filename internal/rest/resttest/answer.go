package resttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"headgate/internal/fault"
	"headgate/internal/id"
	"headgate/internal/rest"
	"headgate/internal/server/request"
)

// answer is what a door sent, and what it told the server's log.
type answer struct {
	*httptest.ResponseRecorder
	request *http.Request
	info    *request.Info
}

// send serves one request, as the server would hand it over.
func send(d *rest.Door, r *http.Request) *answer {
	info := request.Info{ID: id.New("req"), Addr: netip.MustParseAddr("192.0.2.9")}
	ctx := request.With(r.Context(), info)
	a := &answer{httptest.NewRecorder(), r, request.From(ctx)}
	a.Header().Set("X-Request-Id", info.ID)
	d.ServeHTTP(a.ResponseRecorder, r.WithContext(ctx))
	return a
}

// documented returns the document's entry of an operation.
func documented(d *rest.Door, op rest.Op) *huma.Operation {
	item := d.OpenAPI().Paths[op.Path]
	if item == nil {
		return nil
	}
	return map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "PATCH": item.Patch, "DELETE": item.Delete}[op.Method]
}

// check holds an answer to what is promised of all: it is documented, a
// success is what its schema says, and a failure has the door's form and a word
// that its document has.
func (a *answer) check(d *rest.Door, op rest.Op) error {
	hop := documented(d, op)
	if hop == nil {
		return fmt.Errorf("%s is not in the document", op.ID)
	}
	response := hop.Responses[strconv.Itoa(a.Code)]
	if response == nil {
		return fmt.Errorf("status %d is not documented", a.Code)
	}
	if a.Code < 400 {
		return a.fits(d, response)
	}
	if ct := a.Header().Get("Content-Type"); ct != "application/json" {
		return fmt.Errorf("a failure of type %q", ct)
	}
	if f := (failure{a.Code, code(a.Body.Bytes())}); !promised(d, op)[f] {
		return fmt.Errorf("%s answers %v, which its document does not have", op.ID, f)
	}
	return failureForm(d, a.Code, a.Body.Bytes())
}

// fits compares a success with its schema.
func (a *answer) fits(d *rest.Door, response *huma.Response) error {
	media := response.Content["application/json"]
	if media == nil || media.Schema == nil || a.Header().Get("Content-Type") != "application/json" {
		if media != nil || a.Body.Len() > 0 && response.Content[strings.Split(a.Header().Get("Content-Type"), ";")[0]] == nil && response.Content[a.Header().Get("Content-Type")] == nil {
			return fmt.Errorf("a success of type %q, which is not documented", a.Header().Get("Content-Type"))
		}
		return nil
	}
	var v any
	if err := json.Unmarshal(a.Body.Bytes(), &v); err != nil {
		return fmt.Errorf("a success that is no JSON: %w", err)
	}
	result := &huma.ValidateResult{}
	huma.Validate(d.OpenAPI().Components.Schemas, media.Schema, huma.NewPathBuffer(nil, 0), huma.ModeReadFromServer, v, result)
	if len(result.Errors) > 0 {
		return fmt.Errorf("a success that is not what its schema says: %.500s", errors.Join(result.Errors...).Error())
	}
	return nil
}

// failureForm compares a failure's members with those of one the door's form
// makes itself.
func failureForm(d *rest.Door, status int, body []byte) error {
	kind := fault.Internal
	if status == http.StatusUnauthorized {
		kind = fault.BadCredential
	}
	_, sample := d.Form().Answer(&fault.Error{Kind: kind, Code: "resttest.sample", Message: "sample"})
	text, err := json.Marshal(sample)
	if err != nil {
		return err
	}
	var want, got any
	if err := json.Unmarshal(text, &want); err != nil {
		return err
	}
	if err := json.Unmarshal(body, &got); err != nil {
		return fmt.Errorf("a failure that is no JSON: %w", err)
	}
	return sameShape("", want, got)
}

// sameShape reports members that are missing, of another type, or too many.
// details is free, and left out or not as the form likes; a message may be
// left out where the contract has none.
func sameShape(path string, want, got any) error {
	w, isObject := want.(map[string]any)
	if !isObject {
		if fmt.Sprintf("%T", want) != fmt.Sprintf("%T", got) {
			return fmt.Errorf("%s is %T, not %T", path, got, want)
		}
		return nil
	}
	g, isObject := got.(map[string]any)
	if !isObject {
		return fmt.Errorf("%s is %T, not an object", path, got)
	}
	for name, value := range w {
		v, there := g[name]
		switch {
		case name == "details":
			if _, isObject := v.(map[string]any); there && !isObject {
				return fmt.Errorf("%s.details is %T", path, v)
			}
		case !there && name != "message":
			return fmt.Errorf("%s.%s is missing", path, name)
		case there:
			if err := sameShape(path+"."+name, value, v); err != nil {
				return err
			}
		}
	}
	for name := range g {
		if _, known := w[name]; !known && name != "details" {
			return fmt.Errorf("%s.%s is no member of this form", path, name)
		}
	}
	return nil
}

// code finds the word of a failure, wherever the form has it.
func code(body []byte) string {
	var v any
	if json.Unmarshal(body, &v) != nil {
		return ""
	}
	for {
		m, isObject := v.(map[string]any)
		if !isObject {
			text, _ := v.(string) // the Account API's bad credentials
			return text
		}
		if word, ok := m["code"].(string); ok {
			return word
		}
		v = m["error"]
		if v == nil {
			v = m["detail"]
		}
	}
}

// parameters lists the names in a path's braces.
func parameters(path string) []string {
	var names []string
	for part := range strings.SplitSeq(path, "/") {
		if strings.HasPrefix(part, "{") {
			names = append(names, strings.Trim(part, "{}"))
		}
	}
	return slices.Compact(names)
}
