package web_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"headgate/web"
)

func TestHandler(t *testing.T) {
	h := web.Handler()
	get := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w
	}
	for path, want := range map[string]int{"/": 200, "/verify-email": 200, "/reset-password": 200, "/invitation": 200, "/pages/page.js": 200, "/pages/page.css": 200,
		"/pages/": 404, "/pages/home.html": 404, "/verify-email/x": 404, "/nope": 404, "/pages/../web.go": 404} {
		if got := get(http.MethodGet, path); got.Code != want || !strings.Contains(got.Header().Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s: %d, want %d; policy %q", path, got.Code, want, got.Header().Get("Content-Security-Policy"))
		}
	}
	if got := get(http.MethodPost, "/verify-email"); got.Code != 405 {
		t.Errorf("POST: %d", got.Code)
	}
	// A mistyped path of an API is told what is where, whatever its method.
	if got := get(http.MethodPost, "/v2/users"); got.Code != 404 || !strings.Contains(got.Body.String(), "/v1") {
		t.Errorf("POST to nowhere: %d %s", got.Code, got.Body)
	}
	for _, path := range []string{"/", "/verify-email", "/reset-password", "/invitation"} {
		body := get(http.MethodGet, path).Body.String()
		if strings.Contains(body, "<style") || strings.Contains(body, "onclick") || strings.Contains(body, "http://") || strings.Contains(body, "https://") {
			t.Errorf("%s has inline code or loads from elsewhere", path)
		}
	}
}
