package oauthserver

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// Agree is the browser of a person who agrees: it opens an authorization page
// and returns what the redirect brings, without going there.
func Agree(ctx context.Context, page string) (url.Values, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, page, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("the page answered %d: %w", resp.StatusCode, err)
	}
	return to.Query(), nil
}
