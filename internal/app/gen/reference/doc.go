// Package reference writes the pages of docs/reference: one for each door from
// its OpenAPI document, and one each for errors, settings and commands from the
// code that declares them.
//
// Pages are short and plain, depend on their source alone, and are never
// edited. A fault that cannot be read from the source is an error.
package reference
