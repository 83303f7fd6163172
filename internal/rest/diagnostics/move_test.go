package diagnostics_test

import (
	"strings"
	"testing"

	"headgate/internal/db"
	"headgate/internal/testkit"
)

// Whoever may change an address does not learn the headers by it.
func TestHeadersStayAtTheirOrigin(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s)
		const old, other = "http://127.0.0.1:8089/mcp", "http://127.0.0.1:8090/mcp"
		server := h.on(h.register("own", old), "")
		change := func(body map[string]any) *answer { t.Helper(); h.rest(); return h.as(h.key, "PATCH", server, body) }
		change(map[string]any{"headers": map[string]any{"X-Key": "hunter2"}}).want(200)
		if a := change(map[string]any{"url": other}).refused(400, "VALIDATION_ERROR"); !strings.Contains(a.Raw, "Give the headers again") || strings.Contains(a.Raw, "hunter2") {
			t.Error(a.Raw)
		}
		change(map[string]any{"url": old + "/v2"}).want(200)
		change(map[string]any{"url": other, "headers": map[string]any{"x-key": "again"}}).want(200)
		change(map[string]any{"url": old, "headers": map[string]any{"X-Key": nil}}).want(200)
	})
}
