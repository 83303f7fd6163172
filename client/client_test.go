package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"headgate/client"
)

// serve returns a client of a server that answers so, and what it was asked.
func serve(t *testing.T, answer http.HandlerFunc, options ...client.Option) (*client.Client, *http.Request) {
	t.Helper()
	asked := &http.Request{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		*asked = *r
		asked.Body = io.NopCloser(strings.NewReader(string(body)))
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	c, err := client.New(s.URL+"/", options...)
	if err != nil {
		t.Fatal(err)
	}
	return c, asked
}

func say(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestNew(t *testing.T) {
	for _, bad := range []string{"", "localhost:8080", "ftp://example.com", "http://user:pw@example.com", "http://example.com/?key=x"} {
		if _, err := client.New(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestRequest(t *testing.T) {
	ctx := context.Background()
	t.Run("carries credential, parameters and body", func(t *testing.T) {
		c, asked := serve(t, say(200, `{"success":true,"data":{"services":[]},"meta":{"pagination":{"total":0}}}`), client.WithKey("mcp_sk_x"), client.WithUserAgent("mine"))
		if _, _, err := c.ListServices(ctx, client.ListServicesParams{Limit: 7, Filter: "a b&c"}); err != nil {
			t.Fatal(err)
		}
		got := []string{asked.Method, asked.URL.String(), asked.Header.Get("Authorization"), asked.Header.Get("User-Agent"), asked.Header.Get("Accept")}
		if diff := cmp.Diff([]string{"GET", "/v1/mcp/services?filter=a+b%26c&limit=7", "Bearer mcp_sk_x", "mine", "application/json"}, got); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("optional fields are left out, big numbers survive", func(t *testing.T) {
		c, asked := serve(t, say(200, `{"success":true,"data":{"result":{"n":12345678901234567890},"executionTime":0.1},"meta":{"requestId":"req_1"}}`))
		data, meta, err := c.ExecuteTool(ctx, client.ExecuteToolBody{ServiceID: "svc_1", ToolName: "<t>", Parameters: json.RawMessage(`{"n":12345678901234567890}`)}, client.Idempotent("once"))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(asked.Body)
		if diff := cmp.Diff(`{"parameters":{"n":12345678901234567890},"serviceId":"svc_1","toolName":"<t>"}`+"\n", string(body)); diff != "" {
			t.Error(diff)
		}
		if string(data.Result) != `{"n":12345678901234567890}` || meta.RequestID != "req_1" || asked.Header.Get("Idempotency-Key") != "once" {
			t.Errorf("got %s, %+v, %v", data.Result, meta, asked.Header)
		}
	})
	t.Run("public operations get no credential", func(t *testing.T) {
		c, asked := serve(t, say(200, `{"success":true,"data":{},"meta":{}}`), client.WithSource(func(context.Context) (string, error) {
			t.Error("the source was asked")
			return "secret", nil
		}))
		if _, _, err := c.Login(ctx, client.LoginBody{}); err != nil || asked.Header.Get("Authorization") != "" {
			t.Error(err, asked.Header)
		}
	})
	t.Run("an id cannot leave its place in the path", func(t *testing.T) {
		c, asked := serve(t, say(204, ""))
		for _, id := range []string{"", ".", ".."} {
			if err := c.DeleteServer(ctx, id); err == nil || asked.Method != "" {
				t.Errorf("%q: sent, %v", id, err)
			}
		}
		if err := c.DeleteServer(ctx, "a/../b?c"); err != nil || asked.RequestURI != "/v1/mcp/servers/a%2F..%2Fb%3Fc" {
			t.Error(err, asked.RequestURI)
		}
	})
	t.Run("a credential that cannot be had fails the request", func(t *testing.T) {
		broken := errors.New("no session")
		c, asked := serve(t, say(204, ""), client.WithSource(func(context.Context) (string, error) { return "", broken }))
		if err := c.DeleteServer(ctx, "srv_1"); !errors.Is(err, broken) || asked.Method != "" {
			t.Error(err)
		}
	})
	t.Run("what no method covers can be sent", func(t *testing.T) {
		c, asked := serve(t, say(200, `{"x":1}`))
		var out struct{ X int }
		if err := c.Send(ctx, "PUT", "/v1/new", map[string]int{"y": 2}, &out); err != nil || out.X != 1 || asked.Method != "PUT" {
			t.Error(err, out, asked.Method)
		}
	})
}

func TestError(t *testing.T) {
	ctx := context.Background()
	for promise, c := range map[string]struct {
		answer http.HandlerFunc
		want   client.Error
	}{
		"the envelope's": {
			say(429, `{"success":false,"error":{"code":"RATE_LIMIT_EXCEEDED","message":"Slow down.","details":{"limit":5}}}`, "X-Request-Id", "req_1", "Retry-After", "3"),
			client.Error{Status: 429, Code: "RATE_LIMIT_EXCEEDED", Message: "Slow down.", Details: map[string]any{"limit": 5.0}, RequestID: "req_1", RetryAfter: 3 * time.Second},
		},
		"a bare one": {
			say(404, `{"code":"NOT_FOUND","message":"No."}`),
			client.Error{Status: 404, Code: "NOT_FOUND", Message: "No."},
		},
		"something else's page": {
			say(502, `<html>`),
			client.Error{Status: 502, Message: "The server answered 502 Bad Gateway without saying why. Is this URL a Headgate?"},
		},
		"a redirect, which is not followed": {
			say(301, "", "Location", "https://elsewhere.example.com/"),
			client.Error{Status: 301, Message: `The server redirects to "https://elsewhere.example.com/". Use that address as the server's URL.`},
		},
	} {
		t.Run(promise, func(t *testing.T) {
			api, _ := serve(t, c.answer, client.WithKey("k"))
			_, _, err := api.GetMe(ctx)
			var got *client.Error
			if !errors.As(err, &got) {
				t.Fatalf("got %v", err)
			}
			if diff := cmp.Diff(c.want, *got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("what waits for a person is told, with what waits", func(t *testing.T) {
		const row = `{"id":"apr_1","action":"setOrganizationSecret","gate":"secrets","status":"pending","target":"TOKEN","expiresAt":"2026-07-28T09:40:00Z","createdAt":"2026-07-28T09:30:00Z","decidedAt":null}`
		api, _ := serve(t, say(202, `{"success":true,"data":{"approval":`+row+`},"meta":{"message":"A person must approve this first."}}`, "X-Request-Id", "req_1"))
		data, meta, err := api.SetOrganizationSecret(ctx, "TOKEN", client.SetSecretBody{Value: "x"})
		var waits *client.Waiting
		if data != nil || meta != nil || !errors.As(err, &waits) {
			t.Fatal(data, meta, err)
		}
		if a := waits.Approval; a.ID != "apr_1" || a.Status != "pending" || a.Target != "TOKEN" || !a.ExpiresAt.Equal(time.Date(2026, 7, 28, 9, 40, 0, 0, time.UTC)) {
			t.Errorf("%+v", a)
		}
		var failed *client.Error
		if !errors.As(err, &failed) || failed.Status != 202 || failed.Code != "APPROVAL_REQUIRED" || failed.Details["approvalId"] != "apr_1" || failed.RequestID != "req_1" || !strings.Contains(err.Error(), "must approve") {
			t.Errorf("%+v %v", failed, err)
		}
	})
	t.Run("202 of something else is no approval", func(t *testing.T) {
		for _, body := range []string{`{}`, `<html>`, `{"success":true,"data":{},"meta":{}}`} {
			api, _ := serve(t, say(202, body))
			_, _, err := api.SetOrganizationSecret(ctx, "TOKEN", client.SetSecretBody{Value: "x"})
			var waits *client.Waiting
			if err == nil || errors.As(err, &waits) {
				t.Errorf("%s: %v", body, err)
			}
		}
	})
	t.Run("an answer of something else is no success", func(t *testing.T) {
		api, _ := serve(t, say(200, `<html>`))
		if _, _, err := api.GetMe(ctx); err == nil || !strings.Contains(err.Error(), "not what this API promises") {
			t.Error(err)
		}
	})
}

func TestStream(t *testing.T) {
	read := func(t *testing.T, text string) (got []client.StreamEvent, err error) {
		t.Helper()
		api, _ := serve(t, say(200, text, "Content-Type", "text/event-stream"))
		s, err := api.StreamRequestLogs(context.Background(), client.StreamRequestLogsParams{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		for e, err := range s.All() {
			if err != nil {
				return got, err
			}
			got = append(got, e)
		}
		return got, nil
	}
	t.Run("events are read as they are written", func(t *testing.T) {
		got, err := read(t, ": hi\n\nevent: log\nid: 7\ndata: {\"a\":\ndata: 1}\n\ndata:x\r\n\r\ndata: cut off")
		want := []client.StreamEvent{{ID: "7", Name: "log", Data: []byte("{\"a\":\n1}")}, {Name: "message", Data: []byte("x")}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(err, diff)
		}
	})
	t.Run("an event has a largest size", func(t *testing.T) {
		if _, err := read(t, "data: "+strings.Repeat("x", 17<<20)+"\n\n"); err == nil {
			t.Error("read it")
		}
	})
	t.Run("a download is handed over as it comes", func(t *testing.T) {
		api, asked := serve(t, say(200, "a,b\n", "Content-Type", "text/csv"))
		body, err := api.ExportRequestLogsCSV(context.Background(), client.ExportRequestLogsCSVParams{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = body.Close() }()
		if text, _ := io.ReadAll(body); string(text) != "a,b\n" || !strings.HasPrefix(asked.Header.Get("Accept"), "text/csv") {
			t.Errorf("got %q, accept %q", text, asked.Header.Get("Accept"))
		}
	})
}
