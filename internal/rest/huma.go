package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"headgate/internal/fault"
)

// failure is the one neutral error that crosses huma. The door's transformer
// turns it into the door's form.
type failure struct {
	fault  *fault.Error
	status int
}

func (f *failure) Error() string  { return f.fault.Error() }
func (f *failure) GetStatus() int { return f.status }

// tame replaces what huma keeps process-wide, once. Its defaults send inner
// errors and rejected values to the client, fold the case of names, and
// document lists as nullable.
var tame = sync.OnceFunc(func() {
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
	huma.ErrorFormatter = formatWithoutErrors
	huma.NewError = func(status int, _ string, errs ...error) huma.StatusError {
		return &failure{neutral(status, errs), status}
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, _ string, errs ...error) huma.StatusError {
		f := neutral(status, errs)
		if ctx != nil {
			if st := stateOf(ctx.Context()); st != nil {
				status, _ = st.door.cfg.Form.Answer(f)
			}
		}
		return &failure{f, status}
	}
})

// formatWithoutErrors is Sprintf for huma's messages. An error among the
// arguments repeats the value it rejects, so the message ends before it.
func formatWithoutErrors(format string, args ...any) string {
	for _, a := range args {
		if _, isErr := a.(error); isErr {
			return strings.TrimSuffix(format, ": %v")
		}
	}
	return fmt.Sprintf(format, args...)
}

// neutral makes the fault for what huma found wrong with a request.
func neutral(status int, errs []error) *fault.Error {
	if status >= 500 {
		return fault.Of(errors.Join(append(errs, fmt.Errorf("huma answered %d", status))...))
	}
	problems := []Problem{}
	for _, err := range errs {
		var f *fault.Error
		if errors.As(err, &f) { // from a Resolver
			return f
		}
		if len(problems) < maxProblems {
			problems = append(problems, problem(err))
		}
	}
	if len(problems) == 0 {
		return ErrInvalid.Saying("The request needs a body.")
	}
	return Invalid(problems...)
}

const maxProblems = 20

// Problem is one thing wrong with a request: where, and what was expected.
type Problem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Invalid returns ErrInvalid with the problems in details.fields, the first of
// them in the message too. Handlers use it for what a schema cannot say; they
// name fields ("body.config.url"), never values.
func Invalid(problems ...Problem) *fault.Error {
	first := problems[0].Message
	if problems[0].Field != "" {
		first = problems[0].Field + ": " + first
	}
	return ErrInvalid.Saying("The request does not fit this operation: %s.", first).With("fields", problems)
}

// problem copies what is safe of huma's detail: its place and its rule.
func problem(err error) Problem {
	var d *huma.ErrorDetail
	if !errors.As(err, &d) {
		return Problem{"", "is not valid"}
	}
	p := Problem{safePath(d.Location), d.Message}
	value, isText := d.Value.(string)
	switch {
	case d.Location == "body" && isText, // what encoding/json said
		isText && len(value) > 2 && strings.Contains(d.Message, value):
		p.Message = "is not valid"
	case strings.HasPrefix(d.Message, "invalid value"):
		p.Message = "is not valid"
	}
	return p
}

var (
	plainName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,39}(_[A-Za-z0-9-]{1,15})*(\[\d{1,9}\])*$`)
	longSecret = regexp.MustCompile(`[A-Za-z0-9+/=]{24,}`)
)

// safePath repeats a place in the request only as far as it looks like names:
// a caller who mistakes a secret for a name does not get it back.
func safePath(path string) string {
	parts := strings.Split(path, ".")
	for i, part := range parts {
		if !plainName.MatchString(part) || longSecret.MatchString(part) {
			return strings.Join(append(parts[:i], "?"), ".")
		}
	}
	return path
}

// rendered is a body already in JSON, so that what cannot be encoded fails
// before the status is sent.
type rendered []byte

// render encodes without HTML escapes. json.Encoder ends with a newline.
func render(v any) (rendered, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
