package mail_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	netmail "net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"headgate/internal/identity"
	"headgate/internal/identity/mail"
	"headgate/internal/testkit"
)

const from = "Headgate <gate@example.com>"

var message = identity.Message{To: "ada@example.com", Subject: "Grüße\r\nBcc: eve@example.com", Text: "Open https://gate.example/reset-password#token=abc=def\n", HTML: "<p>Open <b>it</b></p>"}

// post is a real SMTP server that keeps what it is given.
type post struct {
	mu   sync.Mutex
	got  []delivery
	port int
	ca   *x509.CertPool
	deny bool
}

type delivery struct {
	from, to, user string
	secure         bool
	data           []byte
}

type session struct {
	post *post
	conn *smtp.Conn
	d    delivery
}

func (p *post) NewSession(c *smtp.Conn) (smtp.Session, error) { return &session{post: p, conn: c}, nil }

func (s *session) AuthMechanisms() []string { return []string{sasl.Plain} }
func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if password != "correct" {
			return errors.New("no")
		}
		s.d.user = user
		return nil
	}), nil
}
func (s *session) Mail(from string, _ *smtp.MailOptions) error { s.d.from = from; return nil }
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	if s.post.deny {
		return &smtp.SMTPError{Code: 550, Message: "no such mailbox"}
	}
	s.d.to += to
	return nil
}
func (s *session) Data(r io.Reader) (err error) {
	if s.d.data, err = io.ReadAll(r); err != nil {
		return err
	}
	_, s.d.secure = s.conn.TLSConnectionState()
	s.post.mu.Lock()
	defer s.post.mu.Unlock()
	s.post.got = append(s.post.got, s.d)
	return nil
}
func (s *session) Reset()        { s.d = delivery{user: s.d.user} }
func (s *session) Logout() error { return nil }

func newPost(t *testing.T, security mail.Security) *post {
	t.Helper()
	p := &post{ca: x509.NewCertPool()}
	key := testkit.Must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))(t)
	cert := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der := testkit.Must(x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key))(t)
	p.ca.AddCert(testkit.Must(x509.ParseCertificate(der))(t))
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server := smtp.NewServer(p)
	server.Domain, server.ReadTimeout, server.WriteTimeout = "127.0.0.1", 10*time.Second, 10*time.Second
	if security != mail.Plain {
		server.TLSConfig = config
	}
	l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	p.port = l.Addr().(*net.TCPAddr).Port
	if security == mail.TLS {
		l = tls.NewListener(l, config)
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() { _ = server.Close(); wg.Wait() })
	return p
}

func (p *post) options(security mail.Security) mail.SMTPOptions {
	return mail.SMTPOptions{Host: "127.0.0.1", Port: p.port, From: from, Security: security, Config: &tls.Config{RootCAs: p.ca, ServerName: "127.0.0.1"}}
}

func TestSMTP(t *testing.T) {
	for _, security := range []mail.Security{mail.STARTTLS, mail.TLS, mail.Plain} {
		t.Run("delivers over "+string(security), func(t *testing.T) {
			p := newPost(t, security)
			o := p.options(security)
			if security != mail.Plain {
				o.Username, o.Password = "gate", "correct"
			}
			s := testkit.Must(mail.NewSMTP(o))(t)
			testkit.Must0(t, s.Send(t.Context(), message))
			testkit.Equal(t, len(p.got), 1)
			d := p.got[0]
			testkit.Equal(t, []any{d.from, d.to, d.user, d.secure}, []any{"gate@example.com", "ada@example.com", o.Username, security != mail.Plain})
			check(t, d.data)
		})
	}
	t.Run("refuses a server that offers no TLS", func(t *testing.T) {
		p := newPost(t, mail.Plain)
		s := testkit.Must(mail.NewSMTP(p.options(mail.STARTTLS)))(t)
		if s.Send(t.Context(), message) == nil || len(p.got) > 0 {
			t.Error("sent in the clear")
		}
	})
	t.Run("refuses a certificate nobody vouches for", func(t *testing.T) {
		p := newPost(t, mail.STARTTLS)
		o := p.options(mail.STARTTLS)
		o.Config = nil
		if testkit.Must(mail.NewSMTP(o))(t).Send(t.Context(), message) == nil {
			t.Error("sent to a stranger")
		}
	})
	t.Run("tells a refused recipient, and a wrong password without showing it", func(t *testing.T) {
		p := newPost(t, mail.STARTTLS)
		p.deny = true
		if testkit.Must(mail.NewSMTP(p.options(mail.STARTTLS)))(t).Send(t.Context(), message) == nil {
			t.Error("no error")
		}
		o := p.options(mail.STARTTLS)
		o.Username, o.Password = "gate", "hunter2"
		if err := testkit.Must(mail.NewSMTP(o))(t).Send(t.Context(), message); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("refuses settings that cannot be right", func(t *testing.T) {
		for _, o := range []mail.SMTPOptions{{Host: "mail", From: "nobody"}, {Host: "", From: from}, {Host: "mail", From: from, Security: "ssl3"}, {Host: "mail", From: from, Security: mail.Plain, Username: "u", Password: "p"}} {
			if _, err := mail.NewSMTP(o); err == nil {
				t.Errorf("accepted %+v", o)
			}
		}
	})
}

// check reads a message as a mail program does.
func check(t *testing.T, data []byte) {
	t.Helper()
	m := testkit.Must(netmail.ReadMessage(strings.NewReader(string(data))))(t)
	subject := testkit.Must(new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")))(t)
	testkit.Equal(t, []string{subject, m.Header.Get("To"), m.Header.Get("Bcc"), m.Header.Get("Auto-Submitted")}, []string{"Grüße Bcc: eve@example.com", "<ada@example.com>", "", "auto-generated"})
	_, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	testkit.Must0(t, err)
	parts := multipart.NewReader(m.Body, params["boundary"])
	for _, want := range []string{message.Text, message.HTML} {
		part := testkit.Must(parts.NextPart())(t)
		body := string(testkit.Must(io.ReadAll(part))(t))
		testkit.Equal(t, strings.TrimSpace(body), strings.TrimSpace(want))
	}
}

func TestOutbox(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "outbox")
	now := time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
	b := testkit.Must(mail.NewOutbox(dir, from, func() time.Time { return now }))(t)
	files := func() []string {
		t.Helper()
		return testkit.Must(filepath.Glob(filepath.Join(dir, "*")))(t)
	}
	t.Run("writes a whole message that only its owner reads", func(t *testing.T) {
		testkit.Must0(t, b.Send(t.Context(), message))
		testkit.Equal(t, len(files()), 1)
		name := files()[0]
		testkit.Equal(t, []string{filepath.Ext(name), testkit.Must(os.Stat(name))(t).Mode().String(), testkit.Must(os.Stat(dir))(t).Mode().String()}, []string{".eml", "-rw-------", "drwx------"})
		check(t, testkit.Must(os.ReadFile(name))(t))
	})
	t.Run("keeps parallel messages apart", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if err := b.Send(t.Context(), message); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		testkit.Equal(t, len(files()), 21)
	})
	t.Run("deletes its own files after a week, and nothing else", func(t *testing.T) {
		testkit.Must0(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o600))
		now = now.Add(7*24*time.Hour + time.Second)
		testkit.Must0(t, b.Send(t.Context(), message))
		testkit.Equal(t, len(files()), 2)
	})
	t.Run("leaves no half message behind", func(t *testing.T) {
		if b.Send(t.Context(), identity.Message{To: "nonsense"}) == nil {
			t.Error("accepted")
		}
		hidden := testkit.Must(filepath.Glob(filepath.Join(dir, ".new-*")))(t)
		testkit.Equal(t, len(hidden), 0)
	})
}
