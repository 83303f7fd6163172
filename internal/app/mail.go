package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"

	"headgate/internal/db"
	"headgate/internal/identity"
	"headgate/internal/identity/mail"
	"headgate/internal/jobs"
)

// mailJob sends one message. Its links are as good as a password, so it waits
// sealed.
type mailJob struct {
	Sealed []byte `json:"sealed"`
}

// Kind implements jobs.Args.
func (mailJob) Kind() string { return "mail.send" }

const mailPlace = "jobs:mail.send"

// mailer is the SMTP server of the settings, else a directory of .eml files.
func (a *App) mailer() (identity.Mailer, error) {
	s := a.Settings
	if s.SMTP == "" {
		return mail.NewOutbox(filepath.Join(s.Data, "outbox"), s.MailFrom, a.Now)
	}
	u, err := url.Parse(s.SMTP)
	if err != nil {
		return nil, fmt.Errorf("smtp: %w", err)
	}
	o := mail.SMTPOptions{Host: u.Hostname(), From: s.MailFrom, Username: u.User.Username(), Now: a.Now}
	o.Password, _ = u.User.Password()
	if p := u.Port(); p != "" {
		if o.Port, err = strconv.Atoi(p); err != nil {
			return nil, fmt.Errorf("smtp: the port is no number")
		}
	}
	if u.Scheme == "smtps" {
		o.Security = mail.TLS
	} else if u.Query().Get("security") == "none" {
		o.Security = mail.Plain
	}
	return mail.NewSMTP(o)
}

// outgoing queues a message: it is sent soon, and again when the mail server
// is away.
func (a *App) outgoing(ctx context.Context, m identity.Message) {
	text, err := json.Marshal(m)
	ctx = context.WithoutCancel(ctx) // what the mail is about has happened, whoever still listens
	if err == nil {
		err = a.Store.Tx(ctx, func(tx *db.Tx) error {
			_, err := jobs.Enqueue(ctx, tx, mailJob{a.Keys.Seal(mailPlace, text)}, jobs.InsertOpts{})
			return err
		})
	}
	if err != nil {
		a.Log.Error("a mail was not queued", "subject", m.Subject, "error", err)
	}
}

// handleMail sends queued messages.
func (a *App) handleMail() error {
	m, err := a.mailer()
	if err != nil {
		return err
	}
	jobs.Handle(a.Jobs, func(ctx context.Context, args mailJob) error {
		text, err := a.Keys.Open(mailPlace, args.Sealed)
		if err != nil {
			return jobs.Cancel(err)
		}
		var msg identity.Message
		if err := json.Unmarshal(text, &msg); err != nil {
			return jobs.Cancel(err)
		}
		return m.Send(ctx, msg)
	})
	return nil
}
