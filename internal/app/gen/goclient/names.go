package goclient

import (
	"go/token"
	"strings"
	"unicode"
)

// initialisms are written in capitals, as Go does.
var initialisms = map[string]string{
	"api": "API", "csv": "CSV", "http": "HTTP", "id": "ID", "ids": "IDs", "ip": "IP", "json": "JSON",
	"mcp": "MCP", "sse": "SSE", "ttl": "TTL", "uri": "URI", "url": "URL",
}

// exported turns a name of the document ("serviceId", "Mcp-Name") into a Go one
// ("ServiceID", "MCPName").
func exported(name string) string {
	var b strings.Builder
	for _, w := range words(name) {
		if upper, ok := initialisms[strings.ToLower(w)]; ok {
			b.WriteString(upper)
			continue
		}
		b.WriteString(strings.ToUpper(w[:1]) + w[1:])
	}
	return b.String()
}

// argument turns a parameter's name into the name of a Go parameter that
// shadows nothing the methods use.
func argument(name string) string {
	v := exported(name)
	if list := words(name); len(list) > 0 {
		first := exported(list[0])
		v = strings.ToLower(first) + strings.TrimPrefix(v, first)
	}
	switch v {
	case "c", "ctx", "p", "body", "options", "r", "url", "http", "io", "time", "strconv", "json":
		v += "Value"
	}
	if token.IsKeyword(v) {
		v += "_"
	}
	return v
}

// words splits at punctuation and where a capital follows a small letter.
func words(name string) []string {
	var list []string
	start := true
	var previous rune
	for _, r := range name {
		switch {
		case !unicode.IsLetter(r) && !unicode.IsDigit(r):
			start = true
			previous = r
			continue
		case start || unicode.IsUpper(r) && !unicode.IsUpper(previous):
			list = append(list, "")
		}
		list[len(list)-1] += string(r)
		start, previous = false, r
	}
	return list
}
