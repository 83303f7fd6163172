package oauth

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"headgate/internal/seal"
	"headgate/internal/upstream/discovery"
)

// The ways in which a client shows at the token endpoint who it is.
const (
	methodNone  = "none"
	methodBasic = "client_secret_basic"
	methodPost  = "client_secret_post"
	methodKey   = "private_key_jwt"
)

// Registration is what a client is at an authorization server.
type Registration struct {
	ID     string
	Secret seal.Value
	Key    seal.Value // a private key in PEM form, instead of a secret
	Method string     // token_endpoint_auth_method; "": what the server supports
}

// MethodOK reports whether a token_endpoint_auth_method is one of ours, or left out.
func MethodOK(method string) bool {
	return slices.Contains([]string{"", methodNone, methodBasic, methodPost, methodKey}, method)
}

// At returns the registration with the method that an authorization server
// supports, where it has none of its own.
func (g Registration) At(i *discovery.Issuer) Registration {
	g.Method = g.method(i.AuthMethods)
	return g
}

// method is how the client shows who it is. A server that lists nothing
// supports HTTP Basic (RFC 8414).
func (g *Registration) method(supported []string) string {
	switch {
	case g.Method != "":
		return g.Method
	case !g.Key.Empty():
		return methodKey
	case g.Secret.Empty():
		return methodNone
	}
	for _, m := range []string{methodBasic, methodPost, methodNone} {
		if slices.Contains(supported, m) {
			return m
		}
	}
	return methodBasic
}

// registration returns what the client is at an authorization server: what it
// was given, its document where the server reads those, else what it gets by
// registering. None of them is used at another server than the first.
func (c *Client) registration(ctx context.Context, r *Resource) (*Registration, error) {
	c.mu.Lock()
	known, elsewhere := c.known[r.place()], len(c.known) > 0
	c.mu.Unlock()
	if known != nil {
		return known, nil
	}
	var made *Registration
	switch {
	case c.Given != nil && elsewhere:
		return nil, ErrIssuer
	case c.Given != nil:
		made = c.Given
	case c.Document != "" && r.Issuer.ClientDocs:
		made = &Registration{ID: c.Document, Method: methodNone}
	default:
		var err error
		if made, err = c.register(ctx, r); err != nil {
			return nil, err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	made = new(made.At(&r.Issuer))
	c.known[r.place()] = made
	return made, nil
}

// place names the authorization server, for registrations.
func (r *Resource) place() string {
	if r.Issuer.Issuer == "" {
		return r.Issuer.Token
	}
	return r.Issuer.Issuer
}

type clientMetadata struct {
	Name     string   `json:"client_name"`
	Redirect []string `json:"redirect_uris"`
	Grants   []string `json:"grant_types"`
	Answers  []string `json:"response_types"`
	Method   string   `json:"token_endpoint_auth_method"`
	Kind     string   `json:"application_type"`
}

// register registers the client (RFC 7591).
func (c *Client) register(ctx context.Context, r *Resource) (*Registration, error) {
	if r.Issuer.Registration == "" {
		return nil, ErrClient
	}
	at, err := private(r.Issuer.Registration)
	if err != nil {
		return nil, err
	}
	m := clientMetadata{Name: c.Name, Redirect: []string{c.Redirect}, Grants: []string{"authorization_code", "refresh_token"}, Answers: []string{"code"},
		Method: methodBasic, Kind: kindOf(c.Redirect)}
	for _, method := range []string{methodNone, methodBasic, methodPost} {
		if slices.Contains(r.Issuer.AuthMethods, method) {
			m.Method = method
			break
		}
	}
	body, _ := json.Marshal(m) // texts always marshal
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, at.String(), bytes.NewReader(body))
	if err != nil {
		return nil, ErrEndpoint.Because(err)
	}
	q.Header.Set("Content-Type", "application/json")
	status, text, err := c.ask(q)
	if err != nil {
		return nil, err
	}
	var a struct {
		ID     string `json:"client_id"`
		Secret string `json:"client_secret"`
		Method string `json:"token_endpoint_auth_method"`
	}
	if status != http.StatusCreated && status != http.StatusOK || json.Unmarshal(text, &a) != nil || a.ID == "" || len(a.ID) > maxText || len(a.Secret) > maxText {
		return nil, ErrClient.Saying("The authorization server did not register this client%s. Register one there by hand, and give its client id.", because(text))
	}
	if !MethodOK(a.Method) {
		return nil, ErrClient.Saying("The authorization server wants clients to show who they are in a way that is not supported here. Register one there by hand, and give its client id.")
	}
	return &Registration{ID: a.ID, Secret: seal.NewValue(a.Secret), Method: a.Method}, nil
}

// kindOf is the application_type that fits a redirect.
func kindOf(redirect string) string {
	if u, err := url.Parse(redirect); err == nil && u.Scheme == "https" {
		return "web"
	}
	return "native"
}

// because words an OAuth error of an answer, with the server's own explanation
// unless it repeats one of our secrets.
func because(text []byte, secrets ...seal.Value) string {
	var e struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(text, &e) != nil {
		return ""
	}
	return reason(e.Error, e.Description, secrets...)
}

func reason(code, description string, secrets ...seal.Value) string {
	if !codeOK(code) {
		return ""
	}
	told := strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f {
			return -1
		}
		return r
	}, description)
	for _, s := range secrets {
		if !s.Empty() && strings.Contains(told, s.Reveal()) {
			told = ""
		}
	}
	if told = strings.TrimRight(told, "."); told == "" || len(told) > 200 {
		return ": " + code
	}
	return ": " + code + ", " + told
}

// codeOK reports whether a text is an OAuth error code.
func codeOK(code string) bool {
	return code != "" && len(code) <= 64 && strings.Trim(code, "abcdefghijklmnopqrstuvwxyz_") == ""
}
