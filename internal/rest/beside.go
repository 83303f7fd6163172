package rest

import (
	"net/http"
	"net/url"
	"strings"
)

// Keyed reports, by form alone, whether a request is one for the App API: its
// X-API-Key has one of the prefixes, or it is the preflight of one that will.
func Keyed(prefixes ...string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		if r.Method == http.MethodOptions {
			return strings.Contains(strings.ToLower(r.Header.Get("Access-Control-Request-Headers")), "x-api-key")
		}
		key := r.Header.Get("X-API-Key")
		for _, p := range prefixes {
			if strings.HasPrefix(key, p) {
				return true
			}
		}
		return false
	}
}

// Beside returns a handler for other's base that gives the requests which ours
// picks to d, as if they had come to d's own base, and the rest to other.
func (d *Door) Beside(other *Door, ours func(*http.Request) bool) http.Handler {
	return beside{d, other, ours}
}

type beside struct {
	door, other *Door
	ours        func(*http.Request) bool
}

func (b beside) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !b.ours(r) {
		b.other.ServeHTTP(w, r)
		return
	}
	u := new(url.URL)
	*u = *r.URL
	u.Path = b.door.cfg.Base + strings.TrimPrefix(u.Path, b.other.cfg.Base)
	if u.RawPath != "" {
		u.RawPath = b.door.cfg.Base + strings.TrimPrefix(u.RawPath, b.other.cfg.Base)
	}
	moved := new(http.Request)
	*moved = *r
	moved.URL = u
	b.door.ServeHTTP(w, moved)
}

// Refuse answers in the form of the door the request is for.
func (b beside) Refuse(w http.ResponseWriter, r *http.Request, err error) {
	if b.ours(r) {
		b.door.Refuse(w, r, err)
		return
	}
	b.other.Refuse(w, r, err)
}
