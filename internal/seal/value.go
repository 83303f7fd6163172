package seal

import (
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Value is a secret text that prints, logs and marshals as "[redacted]" in
// every form. Reveal is the only way to the text.
type Value struct{ text string }

// NewValue returns text as a secret.
func NewValue(text string) Value { return Value{text} }

// Reveal returns the secret; a call of it is what a reviewer looks for.
func (v Value) Reveal() string { return v.text }

// Empty reports whether there is no secret.
func (v Value) Empty() bool { return v.text == "" }

// String implements fmt.Stringer.
func (Value) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (Value) GoString() string { return redacted }

// Format implements fmt.Formatter, so that no verb reaches the field.
func (Value) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// LogValue implements slog.LogValuer.
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText implements encoding.TextMarshaler, and so covers JSON.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }
