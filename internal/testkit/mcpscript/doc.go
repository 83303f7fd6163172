// Package mcpscript is an MCP server of the old era whose every answer a test
// can change: what it says, how, and whether at all. Out of the box it is well:
// one tool, one resource, one prompt, no findings.
package mcpscript
