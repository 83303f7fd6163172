package checkup

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"headgate/internal/diagnosis/report"
	"headgate/internal/netguard"
)

// handshake finds out why no TLS connection was made with a server that was
// reached: it shakes hands once more, as generously as it can without trusting
// what is not trusted, and sends nothing. What it finds words the problem.
func (d *doctor) handshake(ctx context.Context, p *probed) {
	u, err := url.Parse(d.line.url)
	var timeout net.Error
	if err != nil || u.Scheme != "https" || d.Dial == nil || errors.Is(p.err, netguard.ErrBlocked) || errors.As(p.err, &timeout) && timeout.Timeout() {
		return
	}
	h := d.shake(ctx, u, tls.VersionTLS10, tls.VersionTLS13)
	if h == nil {
		return
	}
	r := d.report
	r.Network = &report.Network{}
	if h.version != 0 {
		r.Network.TLS = tls.VersionName(h.version)
	}
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(h.err, &noTLS):
		d.untrusted("not-tls", "What answers at this address does not speak TLS.", "A client that is told https sends nothing without TLS.", "Turn TLS on at this port, or register the address with http:// where that is meant.")
	case h.version != 0 && h.version < tls.VersionTLS12:
		d.untrusted("old", "The server speaks "+r.Network.TLS+" at most.", "Clients refuse versions before 1.2, which can be broken (RFC 8996).", "Turn TLS 1.2 and 1.3 on.")
	case slices.ContainsFunc(tls.InsecureCipherSuites(), func(s *tls.CipherSuite) bool { return s.ID == h.cipher }):
		d.untrusted("old-ciphers", "The server offers only cipher suites that can be broken ("+tls.CipherSuiteName(h.cipher)+").", "Clients refuse them.", "Turn TLS 1.3 on, or suites with ECDHE and AES-GCM or ChaCha20.")
	case h.wantsCertificate:
		d.untrusted("client-certificate", "The server wants a certificate of its client (mutual TLS).", "MCP clients have none, and Headgate sends none.", "Let clients in by OAuth or a header; keep mutual TLS between your own proxies.")
	}
	var refused *net.OpError
	if errors.As(h.err, &refused) && refused.Op == "remote error" && r.Worst("tls") != report.Error {
		d.untrusted("refused", "The server breaks the TLS handshake off.", "Clients do not get as far as MCP.", "Look whether this name is one that the server (or what stands in front of it) knows.", report.Clip(refused.Err.Error(), 100))
	}
	if len(h.chain) > 0 {
		r.Network.Issuer, r.Network.NotAfter = report.Clip(h.chain[0].Issuer.CommonName, 100), &h.chain[0].NotAfter
		d.certificate(u.Hostname(), h.chain)
	}
	for _, f := range r.Findings {
		if f.Check == "tls" {
			p.problem.Message, p.report.Error = f.What, f.What
			break
		}
	}
}

func (d *doctor) untrusted(id, what, why, fix string, subjects ...string) {
	d.report.Find(report.Finding{ID: "tls." + id, Check: "tls", Severity: report.SevError, What: what, Why: why, Fix: fix}, subjects...)
}

// shaken is what a handshake came to, though it failed.
type shaken struct {
	err              error
	version, cipher  uint16 // 0: not agreed on
	chain            []*x509.Certificate
	wantsCertificate bool
}

// shake makes one handshake, or returns nil when the server is not reached.
func (d *doctor) shake(ctx context.Context, u *url.URL, lowest, highest uint16) *shaken {
	ctx, cancel := context.WithTimeout(ctx, d.line.patience/2)
	defer cancel()
	port := u.Port()
	if port == "" {
		port = "443"
	}
	conn, err := d.Dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil
	}
	defer conn.Close()
	h := &shaken{}
	c := tls.Client(conn, &tls.Config{ServerName: u.Hostname(), RootCAs: d.Roots, MinVersion: lowest, MaxVersion: highest, CipherSuites: everySuite(), Time: d.Now,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			h.wantsCertificate = true
			return &tls.Certificate{}, nil
		}})
	h.err = c.HandshakeContext(ctx)
	state := c.ConnectionState()
	h.version, h.cipher, h.chain = state.Version, state.CipherSuite, state.PeerCertificates
	var bad *tls.CertificateVerificationError
	if errors.As(h.err, &bad) {
		h.chain = bad.UnverifiedCertificates
	}
	return h
}

func everySuite() (ids []uint16) {
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		ids = append(ids, s.ID)
	}
	return ids
}

// certificate says everything that is wrong with a certificate, not only what a
// client happens to look at first.
func (d *doctor) certificate(host string, chain []*x509.Certificate) {
	leaf, now := chain[0], d.Now()
	const why = "Clients refuse the connection before a word of MCP is said."
	switch {
	case now.After(leaf.NotAfter):
		d.untrusted("expired", "The certificate ended on "+leaf.NotAfter.UTC().Format(time.DateOnly)+".", why, "Renew it, and let that happen by itself (ACME).")
	case now.Before(leaf.NotBefore):
		d.untrusted("not-yet-valid", "The certificate begins on "+leaf.NotBefore.UTC().Format(time.DateOnly)+" only.", why, "Look at the clock of whoever issued it, and issue it again.")
	}
	if leaf.VerifyHostname(host) != nil {
		d.untrusted("wrong-name", "The certificate is not for "+host+".", why, "Get one for this name, or register the address with a name that it is for.", names(leaf)...)
	}
	others := x509.NewCertPool()
	for _, c := range chain[1:] {
		others.AddCert(c)
	}
	when := now // a time at which the certificate itself is good: that it is not was said
	if when.After(leaf.NotAfter) || when.Before(leaf.NotBefore) {
		when = leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: d.Roots, Intermediates: others, CurrentTime: when})
	var unknown x509.UnknownAuthorityError
	switch {
	case err == nil:
	case string(leaf.RawIssuer) == string(leaf.RawSubject):
		d.untrusted("self-signed", "The certificate is self-signed.", "It vouches for itself, so anybody on the way could have made it; clients refuse it.", "Get one of a public authority: Let's Encrypt gives them away.")
	case errors.As(err, &unknown):
		d.untrusted("unknown-authority", "The certificate's authority is not known, or the certificates between are not sent along.", why,
			"Send the whole chain (often a file named fullchain). A private authority has to be in the trust store of every client, and of the machine Headgate runs on.", report.Clip(leaf.Issuer.String(), 200))
	default:
		d.untrusted("bad-chain", "The chain of the certificate is not valid.", why, "Have it issued again, for servers (extended key usage serverAuth).", report.Clip(err.Error(), 200))
	}
}

// names are those that a certificate is for.
func names(c *x509.Certificate) []string {
	list := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		list = append(list, ip.String())
	}
	return list
}

// oldVersions finds a server that agrees on TLS 1.0 or 1.1 with whoever asks for
// no more, though it speaks newer ones too.
func (d *doctor) oldVersions(ctx context.Context, u *url.URL) {
	if d.Dial == nil {
		return
	}
	h := d.shake(ctx, u, tls.VersionTLS10, tls.VersionTLS11)
	if h == nil || h.version == 0 || h.err != nil {
		return
	}
	d.report.Find(report.Finding{ID: "tls.old-too", Check: "tls", Severity: report.SevWarning, What: fmt.Sprintf("The server also agrees on %s.", tls.VersionName(h.version)),
		Why: "Old versions can be broken, and whoever is on the way can ask for them; auditors refuse them (RFC 8996).", Fix: "Turn TLS 1.0 and 1.1 off."})
}
