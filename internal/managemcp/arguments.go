package managemcp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	broken "github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// validate reads the arguments and holds them to the tool's schema.
func (c *invocation) validate(arguments json.RawMessage) bool {
	if len(bytes.TrimSpace(arguments)) == 0 || bytes.Equal(bytes.TrimSpace(arguments), []byte("null")) {
		arguments = json.RawMessage("{}")
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(arguments))
	if err == nil {
		err = c.tool.valid.Validate(v)
	}
	var wrong *jsonschema.ValidationError
	switch {
	case errors.As(err, &wrong):
		var problems []problem
		c.list(wrong, &problems)
		c.fail(errArguments, map[string]any{"message": "The arguments do not fit the tool. See fields and the tool's schema; nothing was called.", "fields": problems}, 0)
		return false
	case err != nil:
		c.fail(errArguments, "The arguments are no JSON object.", 0)
		return false
	}
	c.given, _ = v.(map[string]any)
	return true
}

// problem names an argument and what is wrong with it, never its value.
type problem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

func (c *invocation) list(e *jsonschema.ValidationError, into *[]problem) {
	for _, cause := range e.Causes {
		c.list(cause, into)
	}
	if len(e.Causes) > 0 || len(*into) >= 20 {
		return
	}
	place := safe(e.InstanceLocation)
	if missing, ok := e.ErrorKind.(*broken.Required); ok { // names of the schema's
		for _, name := range missing.Missing {
			*into = append(*into, problem{strings.Join(append(slices.Clone(place), name), "."), "is required"})
		}
		return
	}
	*into = append(*into, problem{strings.Join(place, "."), c.rule(e)})
}

// safe repeats a place in the arguments as far as it looks like names.
func safe(path []string) []string {
	out := make([]string, 0, len(path))
	for _, p := range path {
		if len(p) > 40 || strings.ContainsFunc(p, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
		}) {
			return append(out, "?")
		}
		out = append(out, p)
	}
	return out
}

// rule words the keyword that was broken, with what the schema says of it.
func (c *invocation) rule(e *jsonschema.ValidationError) string {
	switch k := e.ErrorKind.(type) {
	case *broken.AdditionalProperties:
		if len(e.InstanceLocation) == 0 {
			return "has an argument that is not known; the tool takes: " + or(strings.Join(slices.Sorted(maps.Keys(c.tool.places)), ", "), "nothing")
		}
		return "has a member that is not known"
	case *broken.Type:
		return "must be of type " + strings.Join(k.Want, " or ")
	case *broken.Enum:
		text, _ := json.Marshal(k.Want)
		return "must be one of " + string(text)
	case *broken.Minimum:
		return "must be at least " + k.Want.RatString()
	case *broken.Maximum:
		return "must be at most " + k.Want.RatString()
	case *broken.MinLength:
		return fmt.Sprintf("must have at least %d characters", k.Want)
	case *broken.MaxLength:
		return fmt.Sprintf("must have at most %d characters", k.Want)
	case *broken.MinItems:
		return fmt.Sprintf("must have at least %d entries", k.Want)
	case *broken.MaxItems:
		return fmt.Sprintf("must have at most %d entries", k.Want)
	case *broken.MaxProperties:
		return fmt.Sprintf("must have at most %d members", k.Want)
	}
	words := e.ErrorKind.KeywordPath()
	return "does not meet " + words[len(words)-1]
}

func (c *invocation) invalid(field, message string) {
	c.fail(errArguments, map[string]any{"message": field + " " + message + ".", "fields": []problem{{field, message}}}, 0)
}
