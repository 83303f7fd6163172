// Package goclient writes the typed part of package client from an OpenAPI
// document: a struct for each schema, a method for each operation.
//
// Its output depends on the document alone, is formatted, and names things as
// the document does, so that two runs agree and a renamed operation shows up
// as one in the diff. What cannot be said in Go without guessing is an error.
package goclient
