package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	gomail "github.com/wneessen/go-mail"

	"headgate/internal/identity"
)

// Security says how the connection to the mail server is protected.
type Security string

// The ways; STARTTLS is the zero value's.
const (
	STARTTLS Security = "starttls" // usually port 587
	TLS      Security = "tls"      // from the first byte, usually port 465
	Plain    Security = "none"     // a server on this host
)

const timeout = 30 * time.Second

// SMTPOptions tell how to reach the mail server.
type SMTPOptions struct {
	Host     string
	Port     int    // 0 is 587, or 465 for TLS
	From     string // "Headgate <gate@example.com>" or the bare address
	Username string // "" signs in to no server
	Password string
	Security Security
	Config   *tls.Config // nil trusts the system's roots
	Now      func() time.Time
}

// SMTP delivers through a mail server.
type SMTP struct {
	o      SMTPOptions
	client *gomail.Client
}

// NewSMTP checks the options; it does not connect.
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Security == "" {
		o.Security = STARTTLS
	}
	if o.Username != "" && o.Security == Plain {
		return nil, errors.New("mail: a password would be sent in the clear; use starttls or tls, or no user name")
	}
	if _, err := build(o.From, identity.Message{To: "probe@example.com"}, o.Now()); err != nil {
		return nil, err
	}
	options := []gomail.Option{gomail.WithTimeout(timeout)}
	switch o.Security {
	case STARTTLS:
		options = append(options, gomail.WithTLSPortPolicy(gomail.TLSMandatory))
	case TLS:
		options = append(options, gomail.WithSSLPort(false))
	case Plain:
		options = append(options, gomail.WithTLSPolicy(gomail.NoTLS))
	default:
		return nil, fmt.Errorf("mail: security must be starttls, tls or none")
	}
	if o.Port != 0 {
		options = append(options, gomail.WithPort(o.Port))
	}
	if o.Config != nil {
		options = append(options, gomail.WithTLSConfig(o.Config))
	}
	if o.Username != "" {
		options = append(options, gomail.WithUsername(o.Username), gomail.WithPassword(o.Password), gomail.WithSMTPAuth(gomail.SMTPAuthAutoDiscover))
	}
	client, err := gomail.NewClient(o.Host, options...)
	if err != nil {
		return nil, fmt.Errorf("mail: %w", err)
	}
	return &SMTP{o, client}, nil
}

// Send implements identity.Mailer. One message is one connection: mails are
// few, and an idle one would be closed by the server anyway.
func (s *SMTP) Send(ctx context.Context, m identity.Message) error {
	msg, err := build(s.o.From, m, s.o.Now())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*timeout)
	defer cancel()
	if err := s.client.DialAndSendWithContext(ctx, msg); err != nil {
		return fmt.Errorf("send mail: %w", err)
	}
	return nil
}
