package catalog

import "embed"

// Files are the shipped entries.
//
//go:embed *.yaml locks/*.json
var Files embed.FS
