package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// Time is a moment on every door: ISO 8601, UTC, milliseconds, Z. The zero
// Time is null; tag fields that may be so with nullable:"true".
type Time struct{ time.Time }

const timeForm = "2006-01-02T15:04:05.000Z"

// At returns t as a door shows it.
func At(t time.Time) Time { return Time{t} }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	u := t.UTC()
	if y := u.Year(); y < 0 || y > 9999 {
		return nil, errors.New("a year that ISO 8601 does not have")
	}
	return u.AppendFormat(make([]byte, 0, len(timeForm)+2), `"`+timeForm+`"`), nil
}

// Schema implements huma.SchemaProvider.
func (Time) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Examples: []any{"2026-07-28T09:30:00.000Z"}}
}

// Object is a JSON object of any shape that passes through as it was written:
// a tool's parameters, a service's configuration. Decoding into map[string]any
// would lose integers above 2^53.
type Object json.RawMessage

// MarshalJSON implements json.Marshaler. A nil Object is {}.
func (o Object) MarshalJSON() ([]byte, error) {
	if len(o) == 0 {
		return []byte("{}"), nil
	}
	return o, nil
}

// UnmarshalJSON implements json.Unmarshaler. null is a nil Object.
func (o *Object) UnmarshalJSON(b []byte) error {
	*o = nil
	if !bytes.Equal(b, []byte("null")) {
		*o = bytes.Clone(b)
	}
	return nil
}

// Schema implements huma.SchemaProvider.
func (Object) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, AdditionalProperties: true}
}
