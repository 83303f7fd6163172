package identity

import (
	"context"
	"fmt"
	"html"
	"strings"

	"headgate/internal/tenancy"
)

// Message is a mail to one person.
type Message struct {
	To      string
	Subject string
	Text    string
	HTML    string
}

// Mailer delivers messages; identity/mail has two.
type Mailer interface {
	Send(ctx context.Context, m Message) error
}

func (s *Service) send(ctx context.Context, m *Message) {
	if m != nil {
		s.o.Outgoing(ctx, *m)
	}
}

// page returns the address of a page of ours. Only the configured base is ever
// used: a Host header would let a stranger choose where people's links lead.
// The secret is a fragment, which browsers send to no server and leave in no
// log; the page posts it. That is also why a scanner that opens the link uses
// nothing up.
func (s *Service) page(path, token string) string {
	return strings.TrimRight(s.o.BaseURL, "/") + path + "#token=" + token
}

func (s *Service) verifyMessage(u *User, token string) *Message {
	return compose(u.Email, "Confirm your e-mail address", "Please confirm that this e-mail address is yours:",
		s.page("/verify-email", token), "Confirm address", "The link works once, for 24 hours. If you did not sign up, ignore this message.")
}

func (s *Service) resetMessage(u *User, token string) *Message {
	return compose(u.Email, "Set a new password", "Somebody, hopefully you, asked to set a new password:",
		s.page("/reset-password", token), "Set password", "The link works once, for 10 minutes. If it was not you, ignore this message: your password stays as it is.")
}

func (s *Service) inviteMessage(i *tenancy.Invitation, organization, from, token string) *Message {
	who := from
	if who == "" {
		who = "Somebody"
	}
	return compose(i.Email, "Invitation to "+organization, fmt.Sprintf("%s invites you to join %s as %s:", who, organization, i.Role),
		s.page("/invitation", token), "See the invitation", "The link works once, for seven days.")
}

// compose writes a message twice: as plain text, and as HTML that needs
// nothing from outside.
func compose(to, subject, lead, link, label, note string) *Message {
	e := html.EscapeString
	return &Message{
		To: to, Subject: subject,
		Text: lead + "\n\n" + link + "\n\n" + note + "\n",
		HTML: "<!doctype html><html><body style=\"font-family:sans-serif;max-width:36em\"><p>" + e(lead) + "</p><p><a href=\"" + e(link) + "\">" + e(label) + "</a></p><p>" +
			e(link) + "</p><p style=\"color:#555\">" + e(note) + "</p></body></html>\n",
	}
}
