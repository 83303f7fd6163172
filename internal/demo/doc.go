// Package demo is the built-in MCP server that a first start registers: tools
// echo, add and now, a resource, a template and a prompt, so that the first
// call works with nothing else installed. It is served in process by the
// official SDK and is a server like any other to the rest of Headgate.
package demo
