package cli

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"headgate/client"
)

// margin is how long before its end a token is replaced.
const margin = 30 * time.Second

// api returns a client of the server with the user's credential.
func (x *env) api() (*client.Client, error) {
	base := x.baseURL()
	if _, err := x.client(base); err != nil { // a URL that is none has no credential either
		return nil, err
	}
	source, err := x.credential(base)
	if err != nil {
		return nil, err
	}
	return x.client(base, client.WithSource(source))
}

func (x *env) client(base string, options ...client.Option) (*client.Client, error) {
	c, err := client.New(base, append(options, client.WithUserAgent("headgate/"+x.program.Version))...)
	if err != nil {
		return nil, invalid("%s.\nGive the server as --url http://host:port, or in HEADGATE_URL.", err)
	}
	return c, nil
}

// credential finds what to send to a server: HEADGATE_KEY, else the session,
// else the key of a first start in this directory.
func (x *env) credential(base string) (func(context.Context) (string, error), error) {
	if key := x.getenv("HEADGATE_KEY"); key != "" {
		return fixed(key), nil
	}
	s, err := x.readSession(base)
	if err != nil {
		return nil, err
	}
	if s != nil {
		return (&keeper{env: x, session: s}).token, nil
	}
	if first := readFirstRun(); first != nil && first.APIKey != "" && isHere(base, first.URL) {
		return fixed(first.APIKey), nil
	}
	return nil, wrong(exitSignIn, "NO_CREDENTIAL", "there is no credential for %s.\nSign in (headgate login), or set HEADGATE_KEY.", base)
}

func fixed(key string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return key, nil }
}

// firstRun is the part of first-run.json that commands use.
type firstRun struct {
	URL             string `json:"url"`
	OwnerEmail      string `json:"ownerEmail"`
	OwnerPassword   string `json:"ownerPassword"`
	APIKey          string `json:"apiKey"`
	OrganizationKey string `json:"organizationKey"`
	OperatorKey     string `json:"operatorKey"`
}

func readFirstRun() *firstRun {
	text, err := os.ReadFile(firstRunFile())
	if err != nil {
		return nil
	}
	var f firstRun
	if json.Unmarshal(text, &f) != nil {
		return nil
	}
	return &f
}

// isHere reports whether a server may be the one whose first start is kept in
// this directory: the same URL, or this machine. Its key goes nowhere else.
func isHere(base, first string) bool {
	if base == strings.TrimRight(first, "/") {
		return true
	}
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && ip.IsLoopback()
}

// keeper hands out a session's token and replaces it in time.
type keeper struct {
	env     *env
	mu      sync.Mutex
	session *session
}

func (k *keeper) token(ctx context.Context) (string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if time.Until(k.session.ExpiresAt) > margin {
		return k.session.Token, nil
	}
	// Another command may have replaced it. When two do at the same time, the
	// server gives both the same successor.
	s, err := k.env.readSession(k.session.URL)
	if err != nil {
		return "", err
	}
	if s == nil {
		return "", wrong(exitSignIn, "SIGNED_OUT", "the session was ended.\nSign in again: headgate login")
	}
	if time.Until(s.ExpiresAt) <= margin {
		if err := k.env.refresh(ctx, s); err != nil {
			return "", err
		}
	}
	k.session = s
	return s.Token, nil
}

// refresh replaces a session's tokens, and keeps them.
func (x *env) refresh(ctx context.Context, s *session) error {
	c, err := x.client(s.URL)
	if err != nil {
		return err
	}
	data, meta, err := c.Refresh(ctx, client.RefreshBody{RefreshToken: &s.RefreshToken})
	var refused *client.Error
	if errors.As(err, &refused) && refused.Status == 401 {
		return wrong(exitSignIn, refused.Code, "the session with %s has ended: %s\nSign in again: headgate login", s.URL, refused.Message)
	}
	if err != nil {
		return err
	}
	s.Token, s.RefreshToken, s.ExpiresAt = data.Token, data.RefreshToken, time.Now().Add(time.Duration(meta.TokenExpires)*time.Second)
	return x.keep(s)
}

// insecure reports whether a URL sends credentials over a network in the clear.
func insecure(base string) bool {
	u, err := url.Parse(base)
	if err != nil || u.Scheme != "http" {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback())
}
