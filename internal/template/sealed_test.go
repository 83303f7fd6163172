package template_test

import (
	"encoding/json"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/template"
	"headgate/internal/testkit"
)

func TestFilesAreSealed(t *testing.T) {
	each(t, func(t *testing.T, h *house) {
		ctx := t.Context()
		by, other := h.organization(), h.organization()
		files := map[string]string{"template.yaml": "name: Keeper\nservers:\n  - slug: k\n    url: https://mcp.example.com/mcp\n    headers: {X-Key: hunter2}\n"}
		kept := func(t *testing.T) string {
			t.Helper()
			return testkit.Must(db.Value[string](ctx, h.store, `SELECT files FROM templates WHERE organization_id = $1`, by.Organization))(t)
		}
		read := func(by *access.Principal) (template.Template, error) {
			return h.Get(ctx, by.Organization, "keeper", template.ForWorkspace)
		}
		testkit.Must(h.Import(ctx, by, "Keeper", files))(t)
		t.Run("no column holds a value in the clear", func(t *testing.T) {
			if text := kept(t); strings.Contains(text, "hunter2") || strings.Contains(text, "X-Key") {
				t.Error(text)
			}
			events := testkit.Must(db.Value[int64](ctx, h.store, `SELECT COUNT(*) FROM events WHERE details LIKE '%hunter2%'`))(t)
			testkit.Equal(t, events, int64(0))
		})
		t.Run("a template is read as it was written", func(t *testing.T) {
			got := testkit.Must(read(by))(t)
			testkit.Equal(t, []any{got.Files, got.Node.Servers[0].Headers}, []any{files, map[string]string{"X-Key": "hunter2"}})
		})
		t.Run("its files open in their row alone", func(t *testing.T) {
			h.exec(`INSERT INTO templates (organization_id, slug, kind, name, files, created_by, created_at) VALUES ($1, 'keeper', 'workspace', 'Keeper', $2, 'x', 0)`, other.Organization, kept(t))
			if _, err := read(other); err == nil {
				t.Error("they opened in another organization's")
			}
		})
		t.Run("one of before is read, and sealed at the next start", func(t *testing.T) {
			h.exec(`UPDATE templates SET files = $2 WHERE organization_id = $1`, by.Organization, string(testkit.Must(json.Marshal(files))(t)))
			testkit.Equal(t, testkit.Must(read(by))(t).Files, files)
			testkit.Equal(t, testkit.Must(h.SealOld(ctx))(t), int64(1))
			if text := kept(t); strings.Contains(text, "hunter2") {
				t.Error(text)
			}
			testkit.Equal(t, testkit.Must(read(by))(t).Files, files)
			testkit.Equal(t, testkit.Must(h.SealOld(ctx))(t), int64(0))
		})
	})
}
