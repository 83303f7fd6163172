package checkup_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"headgate/internal/diagnosis/checkup"
	"headgate/internal/diagnosis/report"
	"headgate/internal/testkit"
	"headgate/internal/testkit/mcpscript"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	a := &authority{key: testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t), pool: x509.NewCertPool()}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "An authority"}, NotBefore: time.Now().Add(-10000 * time.Hour), NotAfter: time.Now().Add(10000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.cert = testkit.Must(x509.ParseCertificate(testkit.Must(x509.CreateCertificate(rand.Reader, c, c, &a.key.PublicKey, a.key))(t)))(t)
	a.pool.AddCert(a.cert)
	return a
}

// issue signs a certificate for 127.0.0.1, or for what change makes of it.
func (a *authority) issue(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	key := testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	c := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "A server"}, NotBefore: time.Now().Add(-1000 * time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	if change != nil {
		change(c)
	}
	return tls.Certificate{Certificate: [][]byte{testkit.Must(x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key))(t)}, PrivateKey: key}
}

// over serves a well-behaved MCP server by TLS.
func over(t *testing.T, config *tls.Config) string {
	inner := mcpscript.New(t)
	s := httptest.NewUnstartedServer(inner.Config.Handler)
	s.TLS, s.Config.ErrorLog = config, log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// examineTLS examines with the authority as the only one that is trusted.
func (a *authority) examine(t *testing.T, url string) *report.Report {
	transport := &http.Transport{DialContext: loopback.DialContext, TLSClientConfig: &tls.Config{RootCAs: a.pool}}
	return examineWith(t, checkup.Options{URL: url, Client: &http.Client{Transport: transport}, Dial: loopback.DialContext, Roots: a.pool})
}

func TestHandshakeFindings(t *testing.T) {
	a := newAuthority(t)
	self := newAuthority(t)
	served := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	for id, c := range map[string]struct {
		config *tls.Config
		says   string
	}{
		"tls.expired":           {served(a.issue(t, func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-50 * time.Hour) })), "ended on"},
		"tls.not-yet-valid":     {served(a.issue(t, func(c *x509.Certificate) { c.NotBefore = time.Now().Add(50 * time.Hour) })), "begins on"},
		"tls.wrong-name":        {served(a.issue(t, func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"mcp.example.com"} })), "not for 127.0.0.1"},
		"tls.self-signed":       {served(tls.Certificate{Certificate: [][]byte{self.selfSigned(t)}, PrivateKey: self.key}), "self-signed"},
		"tls.unknown-authority": {served(self.issue(t, nil)), "not known"},
		"tls.bad-chain":         {served(a.issue(t, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })), "not valid"},
		"tls.old":               {&tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "TLS 1.1"},
		"tls.old-ciphers": {&tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256}}, "AES_128_CBC_SHA256"},
		"tls.client-certificate": {&tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}, ClientAuth: tls.RequireAnyClientCert}, "mutual TLS"},
		"tls.refused":            {&tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("no") }}, "breaks"},
	} {
		t.Run(id, func(t *testing.T) {
			r := a.examine(t, over(t, c.config))
			found(t, r, id)
			testkit.Equal(t, r.Status, report.Failed)
			testkit.Equal(t, len(r.Findings), 1) // its own, and no word that says less
			testkit.Equal(t, []string{r.Error.Message, r.Probe.Error, outcome(r, "tls").Detail, outcome(r, "tls").Status}, []string{r.Findings[0].What, r.Findings[0].What, r.Findings[0].What, report.Error})
			if !strings.Contains(r.Error.Message, c.says) {
				t.Errorf("%q", r.Error.Message)
			}
		})
	}
	t.Run("all that is wrong with a certificate is said at once", func(t *testing.T) {
		r := a.examine(t, over(t, served(self.issue(t, func(c *x509.Certificate) {
			c.NotAfter, c.IPAddresses, c.DNSNames = time.Now().Add(-time.Hour), nil, []string{"mcp.example.com"}
		}))))
		for _, id := range []string{"tls.expired", "tls.wrong-name", "tls.unknown-authority"} {
			found(t, r, id)
		}
		testkit.Equal(t, findings(r)["tls.wrong-name"].Subjects, []string{"mcp.example.com"})
	})
	t.Run("tls.not-tls", func(t *testing.T) {
		r := a.examine(t, strings.Replace(mcpscript.New(t).URL, "http:", "https:", 1))
		found(t, r, "tls.not-tls")
		testkit.Equal(t, len(r.Findings), 1)
	})
	t.Run("tls.old-too", func(t *testing.T) {
		r := a.examine(t, over(t, &tls.Config{Certificates: []tls.Certificate{a.issue(t, nil)}, MinVersion: tls.VersionTLS10}))
		testkit.Equal(t, r.Status, report.Ready)
		found(t, r, "tls.old-too")
		testkit.Equal(t, outcome(r, "tls").Status, report.Warning)
	})
	t.Run("a server whose TLS is well has none of it", func(t *testing.T) {
		r := a.examine(t, over(t, served(a.issue(t, nil))))
		testkit.Equal(t, []string{string(r.Status), outcome(r, "tls").Status, r.Network.TLS}, []string{"ready", report.OK, "TLS 1.3"})
	})
}

// selfSigned is a server's certificate that vouches for itself.
func (a *authority) selfSigned(t *testing.T) []byte {
	c := &x509.Certificate{SerialNumber: big.NewInt(3), Subject: pkix.Name{CommonName: "A server"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(1000 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	return testkit.Must(x509.CreateCertificate(rand.Reader, c, c, &a.key.PublicKey, a.key))(t)
}
