package cli_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"headgate/internal/cli"
)

func TestOrgAccept(t *testing.T) {
	var sent []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent = append(sent, r.URL.Path+" "+strings.TrimSpace(string(body)))
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/v1/auth/invitation":
			_, _ = io.WriteString(w, `{"success":true,"data":{"invitation":{"email":"a@example.com","role":"viewer","organization":{"id":"org_1","name":"Acme"},"expiresAt":"2026-11-05T10:00:00Z"}},"meta":{}}`)
		default:
			_, _ = io.WriteString(w, `{"success":true,"data":{"membership":{"userId":"user_1","role":"viewer","isActive":true}},"meta":{}}`)
		}
	}))
	defer server.Close()
	run := func(input string) (code int, out, errors string) {
		sent = nil
		var stdout, stderr bytes.Buffer
		env := map[string]string{"XDG_CONFIG_HOME": t.TempDir(), "HEADGATE_URL": server.URL, "HEADGATE_KEY": "mcp_sk_x"}
		code = (&cli.Program{Version: "v1"}).Run(context.Background(), []string{"org", "accept"}, strings.NewReader(input), &stdout, &stderr, func(name string) string { return env[name] })
		return code, stdout.String(), stderr.String()
	}
	t.Run("takes the link of the mail or its secret, and says where to go on", func(t *testing.T) {
		for _, input := range []string{"https://mcp.example.com/invitation#token=s3cret\n", " s3cret \n"} {
			code, out, errors := run(input)
			if code != 0 || !strings.Contains(out, "Acme") || !strings.Contains(out, "headgate org switch org_1") {
				t.Errorf("%d %s%s", code, out, errors)
			}
			if got := strings.Join(sent, "; "); got != `/v1/auth/invitation {"token":"s3cret"}; /v1/users/me/invitations/accept {"token":"s3cret"}` {
				t.Errorf("sent %s", got)
			}
		}
	})
	t.Run("without one nothing is sent", func(t *testing.T) {
		if code, _, errors := run("\n"); code != 2 || len(sent) != 0 || !strings.Contains(errors, "link is missing") {
			t.Errorf("%d %s, sent %v", code, errors, sent)
		}
	})
}
