// Package spec reads an OpenAPI 3.1 document as the generators need it:
// operations in reading order, references resolved, our extensions
// (x-permission, x-scope) and envelopes understood.
//
// It reads what internal/rest writes and refuses what that never writes, so
// that a generator does not guess. It knows neither Go code nor Markdown.
package spec
