package zoo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"time"
)

// certs are the certificates of the doors, and what callers trust.
type certs struct {
	good, expired, misnamed, selfSigned tls.Certificate
	trust                               *tls.Config
}

// issue makes an authority and what it signs.
func issue() (*certs, error) {
	now := time.Now()
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "zoo"}, NotBefore: now.Add(-48 * time.Hour), NotAfter: now.Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		return nil, err
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	c := &certs{trust: &tls.Config{RootCAs: x509.NewCertPool()}}
	c.trust.RootCAs.AddCert(root)
	here := func(until time.Time) *x509.Certificate {
		return &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: now.Add(-24 * time.Hour), NotAfter: until, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	}
	elsewhere := here(now.Add(time.Hour))
	elsewhere.IPAddresses, elsewhere.DNSNames = nil, []string{"elsewhere.example"}
	for _, s := range []struct {
		to       *tls.Certificate
		template *x509.Certificate
		parent   *x509.Certificate
	}{{&c.good, here(now.Add(time.Hour)), root}, {&c.expired, here(now.Add(-time.Hour)), root}, {&c.misnamed, elsewhere, root}, {&c.selfSigned, here(now.Add(time.Hour)), nil}} {
		own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		parent, signer := s.parent, key
		if parent == nil {
			parent, signer = s.template, own
		}
		der, err := x509.CreateCertificate(rand.Reader, s.template, parent, own.Public(), signer)
		if err != nil {
			return nil, err
		}
		*s.to = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: own}
	}
	return c, nil
}
