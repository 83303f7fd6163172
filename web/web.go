package web

import (
	"embed"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed pages
var files embed.FS

// Paths are the prefixes to route to Handler; "/" is the root page alone.
var Paths = []string{"/", "/verify-email", "/reset-password", "/invitation", "/pages"}

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// Handler serves the pages.
func Handler() http.Handler {
	pages, err := fs.Sub(files, "pages")
	if err != nil {
		panic(err) // the directory is embedded
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cache-Control", "no-store")
		name, ok := file(r.URL.Path)
		if !ok {
			http.Error(w, "There is nothing at this path. The REST API is at /v1, the MCP endpoint at /mcp.", http.StatusNotFound)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "A page is only read.", http.StatusMethodNotAllowed)
			return
		}
		http.ServeFileFS(w, r, pages, name)
	})
}

// file returns the page or asset of a path.
func file(p string) (string, bool) {
	switch p {
	case "/":
		return "home.html", true
	case "/verify-email", "/reset-password", "/invitation":
		return strings.TrimPrefix(p, "/") + ".html", true
	case "/pages/page.css", "/pages/page.js":
		return path.Base(p), true
	}
	return "", false
}
