package rest

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Scheme is the way a credential was sent.
type Scheme uint8

// The ways.
const (
	NoScheme Scheme = iota
	Bearer          // Authorization: Bearer
	APIKey          // Authorization: ApiKey
	XAPIKey         // X-API-Key
	Cookie          // the session cookie
)

// Credential is what a caller shows, well-formed but unverified.
type Credential struct {
	Scheme Scheme
	Value  string
	Prefix string // the kind of key, "sk_live_"; "" for a token
	User   string // the Bearer token beside a key, where Credentials.Paired
}

// Credentials finds credentials in requests, the same way on every door.
type Credentials struct {
	Prefixes []string // of all kinds of keys
	Cookie   string   // the session cookie's name, "__Host-…"; "" where none is taken
	Paired   bool     // X-API-Key may come with an end user's Bearer token
}

const maxCredential = 4096

// Find returns the request's one credential; a Credential without a Scheme
// when there is none. It refuses (401) what is malformed and (400) headers
// that repeat or disagree.
func (c Credentials) Find(r *http.Request) (Credential, error) {
	if err := c.CheckURL(r.URL); err != nil {
		return Credential{}, err
	}
	auth, err := c.authorization(r.Header["Authorization"])
	if err != nil {
		return Credential{}, err
	}
	key, err := c.single(r.Header["X-Api-Key"], XAPIKey)
	if err != nil {
		return Credential{}, err
	}
	cookie, err := c.cookie(r)
	if err != nil {
		return Credential{}, err
	}
	if c.Paired && key.Scheme != NoScheme && auth.Scheme == Bearer && auth.Prefix == "" {
		key.User = auth.Value
		auth = Credential{}
	}
	found := Credential{}
	for _, next := range []Credential{auth, key, cookie} {
		switch {
		case next.Scheme == NoScheme:
		case found.Scheme == NoScheme:
			found = next
		case found.Value != next.Value:
			return Credential{}, ErrCredentialTwice
		}
	}
	return found, nil
}

func (c Credentials) authorization(headers []string) (Credential, error) {
	if len(headers) == 0 {
		return Credential{}, nil
	}
	if len(headers) > 1 {
		return Credential{}, ErrCredentialTwice
	}
	word, value, _ := strings.Cut(headers[0], " ")
	switch {
	case strings.EqualFold(word, "Bearer"):
		return c.make(value, Bearer)
	case strings.EqualFold(word, "ApiKey"):
		return c.make(value, APIKey)
	}
	return Credential{}, ErrCredentialForm
}

func (c Credentials) single(values []string, s Scheme) (Credential, error) {
	switch len(values) {
	case 0:
		return Credential{}, nil
	case 1:
		return c.make(values[0], s)
	}
	return Credential{}, ErrCredentialTwice
}

func (c Credentials) cookie(r *http.Request) (Credential, error) {
	if c.Cookie == "" || r.Header["Cookie"] == nil {
		return Credential{}, nil
	}
	var values []string
	for _, ck := range r.CookiesNamed(c.Cookie) {
		values = append(values, ck.Value)
	}
	return c.single(values, Cookie)
}

// make checks the form: visible ASCII, no comma (two headers joined by a
// proxy), not endless.
func (c Credentials) make(value string, s Scheme) (Credential, error) {
	if value == "" || len(value) > maxCredential {
		return Credential{}, ErrCredentialForm
	}
	for i := range len(value) {
		if b := value[i]; b <= ' ' || b >= 0x7f || b == ',' {
			return Credential{}, ErrCredentialForm
		}
	}
	return Credential{Scheme: s, Value: value, Prefix: c.PrefixOf(value)}, nil
}

// PrefixOf returns the longest known prefix of a key, or "".
func (c Credentials) PrefixOf(value string) string {
	longest := ""
	for _, p := range c.Prefixes {
		if len(p) > len(longest) && strings.HasPrefix(value, p) {
			longest = p
		}
	}
	return longest
}

// CheckURL refuses a URL whose query carries a credential (by its parameter's
// name, or by its look) or cannot be read.
func (c Credentials) CheckURL(u *url.URL) error {
	if u.RawQuery == "" {
		return nil
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return ErrURL
	}
	for name, values := range query {
		switch strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name)) {
		case "apikey", "xapikey", "accesstoken", "authorization", "bearer":
			return ErrKeyInURL
		}
		if !plainText(name) {
			return ErrURL
		}
		for _, v := range values {
			if !plainText(v) {
				return ErrURL
			}
			if c.looksLikeKey(v) || c.looksLikeKey(name) {
				return ErrKeyInURL
			}
		}
	}
	return nil
}

// looksLikeKey reports whether a text is a key or most of one: a known prefix
// and a run of random characters. "ok_computer" is none.
func (c Credentials) looksLikeKey(text string) bool {
	p := c.PrefixOf(text)
	if p == "" || len(text) < len(p)+16 {
		return false
	}
	for i := len(p); i < len(text); i++ {
		b := text[i] | 0x20
		if (b < 'a' || b > 'z') && (text[i] < '0' || text[i] > '9') {
			return false
		}
	}
	return true
}

// schemes describes the ways for the document.
func (c Credentials) schemes() map[string]*huma.SecurityScheme {
	s := map[string]*huma.SecurityScheme{
		"bearer": {Type: "http", Scheme: "bearer", Description: "A key or a session's token."},
		"apiKey": {Type: "apiKey", In: "header", Name: "X-API-Key", Description: "A key. Authorization: ApiKey … is the same."},
	}
	if c.Cookie != "" {
		s["cookie"] = &huma.SecurityScheme{Type: "apiKey", In: "cookie", Name: c.Cookie, Description: "A session of the dashboard."}
	}
	return s
}

// keyTail is how long a key is behind its prefix.
const keyTail = 36

// mask cuts every whole key in a text down to the part that is shown of it.
func (c Credentials) mask(text []byte) []byte {
	out := text
	for _, prefix := range c.Prefixes {
		for from := 0; ; {
			i := bytes.Index(out[from:], []byte(prefix))
			if i < 0 {
				break
			}
			from += i + len(prefix)
			end := from
			for end < len(out) && isBase62(out[end]) {
				end++
			}
			if end-from == keyTail {
				keep := from + max(0, shownOfKey-len(prefix))
				out = slices.Concat(out[:keep], []byte("…"), out[end:])
			}
		}
	}
	return out
}

// shownOfKey is how much of a key lists show.
const shownOfKey = 12

func isBase62(b byte) bool {
	return b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z'
}
