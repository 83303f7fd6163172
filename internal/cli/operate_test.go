package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"headgate/internal/cli"
)

// answering runs commands against a server that answers everything the same.
func answering(t *testing.T, status int, body string) (run func(input string, args ...string) (code int, out, errors string), sent *[]string) {
	t.Helper()
	sent = new([]string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		*sent = append(*sent, r.Method+" "+r.URL.Path+" "+strings.TrimSpace(string(text)))
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/v1/templates":
			_, _ = io.WriteString(w, `{"success":true,"data":{"templates":[],"count":0},"meta":{}}`)
		case "/v1/organization-templates":
			_, _ = io.WriteString(w, `{"success":true,"data":{"templates":[{"dir":"team","name":"Team"}],"count":1},"meta":{}}`)
		default:
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}))
	t.Cleanup(server.Close)
	return func(input string, args ...string) (int, string, string) {
		*sent = nil
		var stdout, stderr bytes.Buffer
		env := map[string]string{"XDG_CONFIG_HOME": t.TempDir(), "HEADGATE_URL": server.URL, "HEADGATE_KEY": "ok_x"}
		code := (&cli.Program{Version: "v1"}).Run(context.Background(), args, strings.NewReader(input), &stdout, &stderr, func(name string) string { return env[name] })
		return code, stdout.String(), stderr.String()
	}, sent
}

func TestSecretValue(t *testing.T) {
	run, sent := answering(t, 200, `{"success":true,"data":{"key":"K","scope":"organization","status":"saved"},"meta":{}}`)
	for input, want := range map[string]string{
		"v":             "v",
		"v\r\n":         "v",
		" a b \n\n":     " a b \n", // one line's end alone goes
		"-----\nkey\n-": "-----\nkey\n-",
	} {
		code, _, errors := run(input, "secret", "set", "K")
		text, _ := json.Marshal(want)
		if code != 0 || len(*sent) != 1 || (*sent)[0] != `PUT /v1/organizations/me/secrets/K {"value":`+string(text)+`}` {
			t.Errorf("%q: %d %s, sent %q", input, code, errors, *sent)
		}
	}
	for name, input := range map[string]string{"nothing": "", "an empty line": "\n", "bytes that are no text": "hush\xff", "too much": strings.Repeat("hush", 20000)} {
		if code, out, errors := run(input, "secret", "set", "K"); code != 2 || len(*sent) != 0 || strings.Contains(out+errors, "hush") {
			t.Errorf("%s: %d %s, sent %d", name, code, errors, len(*sent))
		}
	}
}

// TestImportsSayWhatTheyLack holds how what cannot be done, or was done in
// part, is told: 412 and 207.
func TestImportsSayWhatTheyLack(t *testing.T) {
	says := func(t *testing.T, text string, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if !strings.Contains(text, p) {
				t.Errorf("%q is not in:\n%s", p, text)
			}
		}
	}
	t.Run("required secrets", func(t *testing.T) {
		run, _ := answering(t, 412, `{"success":false,"error":{"code":"PRECONDITION_FAILED","message":"Secrets are not set.","details":{"missing_env":["A","B or C"],"missing_workspace_env":{"N":["D"]}}}}`)
		code, _, errors := run("", "template", "apply", "team", "--apply")
		if code != 2 {
			t.Error(code)
		}
		says(t, errors, "Not set in the organization: A, B or C\n", "Not set in the organization, for N: D\n", "headgate secret set NAME")
		_, _, errors = run("", "template", "apply", "team", "--apply", "--json")
		says(t, errors, `"missing_workspace_env":{"N":["D"]}`)
	})
	t.Run("a plan", func(t *testing.T) {
		run, _ := answering(t, 412, `{"success":false,"error":{"code":"PRECONDITION_FAILED","message":"Plan first."}}`)
		_, _, errors := run("", "template", "apply", "team", "--apply")
		says(t, errors, "--apply --plan ID")
	})
	t.Run("a part", func(t *testing.T) {
		run, sent := answering(t, 207, `{"success":true,"data":{"org":"Team","state":"partly","count":2,"workspaces":[{"name":"Lead","status":"created","id":"ws_1"},{"name":"Build","status":"failed","code":"CONFLICT","error":"Another one has this slug."}]},"meta":{}}`)
		code, out, errors := run("", "template", "apply", "team", "--apply", "--reconcile")
		if code != 6 || (*sent)[2] != `POST /v1/organizations/me/import {"dir":"team","mode":"reconcile"}` {
			t.Error(code, *sent)
		}
		says(t, out, "Lead   created  ws_1", "Build  failed", "CONFLICT Another one has this slug.")
		says(t, errors, "1 of 2 workspaces failed", "give the command again")
	})
	t.Run("removals", func(t *testing.T) {
		run, _ := answering(t, 207, `{"success":true,"data":{"org":"Team","state":"partly","count":1,"reconcileErrors":["Old: it is the default"],"workspaces":[{"name":"Lead","status":"updated","id":"ws_1"}]},"meta":{}}`)
		code, _, errors := run("", "template", "apply", "team", "--apply", "--reconcile")
		if code != 6 {
			t.Error(code)
		}
		says(t, errors, "Old: it is the default")
	})
}
