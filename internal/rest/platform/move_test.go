package platform_test

import (
	"strings"
	"testing"

	"headgate/internal/db"
	"headgate/internal/testkit"
	"headgate/internal/testkit/world"
)

// Whoever may change an address does not learn the headers by it.
func TestHeadersStayAtTheirOrigin(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		h := newHouse(t, s, world.Options{})
		const old, other = "http://127.0.0.1:8089/mcp", "http://127.0.0.1:8090/mcp"
		for path, kind := range map[string]string{"/mcp/servers": "server", "/mcp/services": "service"} {
			made := h.as(h.owner.Token, "POST", path, map[string]any{"slug": "own", "url": old, "headers": map[string]any{"X-Key": "hunter2"}}).want(201)
			at := path + "/" + made.text(kind, "id")
			change := func(body map[string]any) *answer { t.Helper(); return h.as(h.owner.Token, "PATCH", at, body) }
			a := change(map[string]any{"url": other}).refused(400, "VALIDATION_ERROR")
			if !strings.Contains(a.Raw, "Give the headers again") || !strings.Contains(a.Raw, "X-Key") || strings.Contains(a.Raw, "hunter2") {
				t.Errorf("%s: %s", kind, a.Raw)
			}
			change(map[string]any{"url": old + "/v2"}).want(200)
			change(map[string]any{"url": other, "headers": map[string]any{"x-key": "again"}}).want(200)
			change(map[string]any{"url": old, "headers": map[string]any{"X-Key": nil}}).want(200)
		}
	})
}
