// Package client is the Go client of Headgate's Platform API.
//
//	c, err := client.New("http://127.0.0.1:8080", client.WithKey(key))
//	services, meta, err := c.ListServices(ctx, client.ListServicesParams{Limit: 100})
//
// Each operation is a method, named like it in the OpenAPI document; bodies
// and answers are structs. Optional fields of bodies are pointers: new("text").
// The envelope is taken off: a method returns data and meta, and failures as
// *Error. Methods never repeat a request and are safe for concurrent use.
//
// client.go, errors.go and stream.go are written by hand; operations.go,
// params.go and types.go are generated (make gen).
package client
