package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"headgate/client"
)

// lastOfDiagnostics take away what the other examples use.
var lastOfDiagnostics = []string{"deleteServerTokens", "deleteServer", "deleteProject"}

// diagnosticsKey makes a key of its own for one example: they come faster than
// one key may ask.
func (w *world) diagnosticsKey() (id, key string) {
	w.Helper()
	made, _, err := w.api.CreateMyKey(w.ctx, client.CreateAPIKeyBody{Name: "example", Kind: new("diagnostics"),
		Scopes: []string{"mcp:read", "mcp:write", "mcp:admin", "user:read", "org:read", "org:admin"}})
	w.must(err)
	return made.APIKey.ID, made.APIKey.Key
}

// fillDiagnostics makes what the examples of the Diagnostics API name.
func (w *world) fillDiagnostics() {
	w.Helper()
	w.variables["PROJECT_ID"] = w.variables["WORKSPACE_ID"]
	w.variables["API_KEY_ID"], _ = w.diagnosticsKey()
	doomed, _, err := w.api.CreateWorkspace(w.ctx, client.CreateWorkspaceBody{Name: "Doomed"})
	w.must(err)
	w.own["deleteProject"] = doomed.Workspace.ID
}

// TestDiagnosticsExamples runs the examples of the Diagnostics API with
// diagnostics keys, and those of the keys' page with a session.
func TestDiagnosticsExamples(t *testing.T) {
	w := newWorld(t)
	w.fillDiagnostics()
	list := examples(t, "../../../docs/reference/diagnostics.md")
	slices.SortStableFunc(list, func(a, b example) int {
		return slices.Index(lastOfDiagnostics, a.operation) - slices.Index(lastOfDiagnostics, b.operation)
	})
	for _, e := range append(list, examples(t, "../../../docs/reference/diagnostics-keys.md")...) {
		t.Run(e.operation, func(t *testing.T) {
			if status, body := w.run(t, e); status < 200 || status > 299 {
				t.Errorf("%s\nanswered %d: %s", e.text, status, bytes.TrimSpace(body))
			}
		})
	}
}

var (
	shell   = regexp.MustCompile("(?s)```sh\n(.*?)\n```")
	answers = regexp.MustCompile(`\n# answers (\d+)$`)
)

// TestGuides runs the curl commands of the guides. One that must be refused
// says so below it: "# answers 403".
func TestGuides(t *testing.T) {
	w := newWorld(t)
	w.fillDiagnostics()
	organization, _, err := w.api.CreateOrganizationKey(w.ctx, client.CreateOrgKeyBody{Name: "guide"})
	w.must(err)
	personal, _, err := w.api.CreateMyKey(w.ctx, client.CreateAPIKeyBody{Name: "guide", Scopes: []string{"mcp:read", "user:read"}})
	w.must(err)
	vars := maps.Clone(w.variables)
	vars["HEADGATE_KEY"], vars["SESSION"] = w.session, w.session
	vars["ORGANIZATION_KEY"], vars["PERSONAL_KEY"] = organization.APIKey.Key, personal.APIKey.Key
	for _, name := range []string{"OLDER_REPORT", "NEWER_REPORT"} {
		data, _, err := w.api.DoctorServer(w.ctx, w.variables["SERVER_ID"], client.DoctorServerBody{})
		w.must(err)
		vars[name] = data.Report.ID
	}
	for _, page := range []string{"keys", "diagnostics"} {
		text, err := os.ReadFile("../../../docs/guides/" + page + ".md")
		w.must(err)
		ran := 0
		for _, block := range shell.FindAllStringSubmatch(string(text), -1) {
			if !strings.HasPrefix(block[1], "curl ") {
				continue
			}
			ran++
			t.Run(fmt.Sprint(page, " ", ran), func(t *testing.T) {
				w.guide(t, block[1], vars)
			})
		}
		if ran == 0 {
			t.Errorf("%s has no example", page)
		}
	}
}

func (w *world) guide(t *testing.T, text string, vars map[string]string) {
	t.Helper()
	want := 0
	if m := answers.FindStringSubmatch(text); m != nil {
		want, _ = strconv.Atoi(m[1])
		text = strings.TrimSuffix(text, m[0])
	}
	_, vars["DIAGNOSTICS_KEY"] = w.diagnosticsKey()
	r, err := example{text: strings.NewReplacer(w.texts...).Replace(text)}.request(vars)
	if err != nil {
		t.Fatalf("%s\n%s", err, text)
	}
	resp, err := http.DefaultClient.Do(r.WithContext(w.ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if want == 0 && resp.StatusCode > 299 || want != 0 && resp.StatusCode != want {
		t.Errorf("%s\nanswered %d: %s", text, resp.StatusCode, body)
	}
	if !json.Valid(body) {
		t.Errorf("%s\nanswered %s", text, body)
	}
}
