package catalog

import (
	"context"
	"net"
	"net/url"
	"strings"

	"headgate/internal/db"
)

// Whoever may change a server's address may not read the secrets that it
// holds, so they do not follow it to another origin.

// origin is the scheme, host and port of an address.
func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "http": "80"}[scheme]
	}
	return scheme + "://" + net.JoinHostPort(strings.TrimSuffix(strings.ToLower(u.Hostname()), "."), port)
}

// checkMove returns ErrMoved when a service that goes to another origin would
// take secrets along: the headers that stay, or what was configured. What is
// configured for a service on offer goes where its seller says.
func (c *Catalog) checkMove(ctx context.Context, tx *db.Tx, was *Service, stays []string) error {
	if len(stays) > 0 {
		return ErrMoved.With("headers", stays)
	}
	if was.Organization == "" {
		return nil
	}
	rows, err := configurationsFor(ctx, tx, was.ID)
	if err != nil {
		return err
	}
	for i := range rows {
		if c.keepsSecrets(was, &rows[i]) {
			return ErrMoved.Saying("The new URL has another origin (scheme, host or port), and the secrets that were configured for the old one are not sent there. Those who configured them remove their configuration first; or register another server for the new URL.")
		}
	}
	return nil
}
