package managemcp

import (
	"net/url"
	"strings"
	"unicode"
)

// snake turns workspaceId into workspace_id.
func snake(camel string) string {
	var b strings.Builder
	for i, r := range camel {
		if unicode.IsUpper(r) {
			if i > 0 {
				b.WriteByte('_')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// camel turns workspace_id into workspaceId.
func camel(snake string) string {
	head, rest, found := strings.Cut(snake, "_")
	for found {
		var part string
		part, rest, found = strings.Cut(rest, "_")
		if part != "" {
			head += strings.ToUpper(part[:1]) + part[1:]
		}
	}
	return head
}

// segment makes one segment of a path of an argument. What would change the
// path is refused, the rest escaped.
func segment(v any) (string, bool) {
	text, ok := v.(string)
	if !ok || text == "" || text == "." || text == ".." {
		return "", false
	}
	return url.PathEscape(text), true
}
