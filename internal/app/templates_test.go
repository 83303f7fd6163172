package app_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"headgate/internal/db"
	"headgate/internal/testkit"
)

// A template that an older program kept in the clear is sealed by a start.
func TestTemplatesOfBefore(t *testing.T) {
	eachHouse(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		files := map[string]string{"template.yaml": "name: Keeper\nservers:\n  - {slug: k, url: \"https://93.184.215.14/mcp\", headers: {X-Key: hunter2}}\n"}
		kept := func(set ...any) (text string) {
			s := h.open()
			defer s.Close()
			if len(set) > 0 {
				testkit.Must(db.Exec(ctx, s, `UPDATE templates SET files = $1`, set...))(t)
			}
			return testkit.Must(db.Value[string](ctx, s, `SELECT files FROM templates`))(t)
		}
		h.start()
		key, _ := h.rootKeys()
		if status, answer := h.send(key, http.MethodPost, "/v1/templates", map[string]any{"name": "Keeper", "files": files}); status != http.StatusCreated {
			t.Fatalf("%d %s", status, answer)
		}
		h.stop(syscall.SIGTERM)
		if text := kept(string(testkit.Must(json.Marshal(files))(t))); !strings.Contains(text, "hunter2") {
			t.Fatal(text)
		}
		h.start()
		if _, list := h.send(key, http.MethodGet, "/v1/templates", nil); !strings.Contains(string(list), "keeper") || strings.Contains(string(list), "hunter2") {
			t.Errorf("%s", list)
		}
		h.stop(syscall.SIGTERM)
		if text := kept(); strings.Contains(text, "hunter2") {
			t.Error(text)
		}
	})
}
