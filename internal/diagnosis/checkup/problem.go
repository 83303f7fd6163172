package checkup

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"

	"headgate/internal/diagnosis/report"
	"headgate/internal/fault"
)

// The codes of problems: the words of the Diagnostics API.
const (
	codeTimeout     = "TIMEOUT"
	codeUnreachable = "SERVER_UNREACHABLE"
	codeOAuth       = "OAUTH_REQUIRED"
	codeForbidden   = "FORBIDDEN"
	codeFeature     = "FEATURE_NOT_SUPPORTED"
	codeInternal    = "INTERNAL_ERROR"
	codeInvalid     = "VALIDATION_ERROR"
)

// problemOf words an error for a report. What went wrong before there was a
// connection has one text for every cause; after that the peer is no secret.
func problemOf(err error) *report.Problem {
	var cert *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var netErr net.Error
	var f *fault.Error
	switch {
	case errors.As(err, &f):
		return &report.Problem{Code: codeOf(f), Message: f.Message}
	case errors.As(err, &cert), errors.As(err, &unknown):
		return &report.Problem{Code: codeUnreachable, Message: "The server's TLS certificate is not trusted: it is self-signed, expired, or for another name."}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &netErr) && netErr.Timeout():
		return &report.Problem{Code: codeTimeout, Message: "The server did not answer in time."}
	case errors.Is(err, context.Canceled):
		return &report.Problem{Code: codeTimeout, Message: "The diagnosis was cancelled."}
	}
	return &report.Problem{Code: codeUnreachable, Message: "The connection to the server broke, or what it sent is not HTTP."}
}

func codeOf(f *fault.Error) string {
	switch f.Kind {
	case fault.Upstream, fault.Unavailable:
		return codeUnreachable
	case fault.Timeout:
		return codeTimeout
	case fault.UpstreamAuth:
		return codeOAuth
	case fault.Forbidden:
		return codeForbidden
	case fault.Unsupported:
		return codeFeature
	case fault.Invalid, fault.Unconfigured:
		return codeInvalid
	}
	return codeInternal
}
