package identity

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/tenancy"
)

const (
	purposeVerify = "verify"
	purposeReset  = "reset"
	verifyLife    = 24 * time.Hour
	resetLife     = 10 * time.Minute
	maxMails      = 5 // links of one purpose to one user within mailWindow
	mailWindow    = time.Hour
)

// mailToken makes the secret of a link.
func (s *Service) mailToken(ctx context.Context, tx *db.Tx, user, purpose string, life time.Duration) (string, error) {
	token, now := newSecret(), s.now()
	_, err := db.Exec(ctx, tx, `INSERT INTO mail_tokens (hash, user_id, purpose, created_at, expires_at, used_at) VALUES ($1,$2,$3,$4,$5,NULL)`,
		s.hash(purpose, token), user, purpose, now.UnixMilli(), now.Add(life).UnixMilli())
	if err != nil {
		return "", fmt.Errorf("add mail token: %w", err)
	}
	return token, nil
}

// tooMany reports whether a user has been sent enough links for now.
func (s *Service) tooMany(ctx context.Context, q db.Querier, user, purpose string) (bool, error) {
	n, err := db.Value[int64](ctx, q, `SELECT COUNT(*) FROM mail_tokens WHERE user_id = $1 AND purpose = $2 AND created_at > $3`, user, purpose, s.now().Add(-mailWindow).UnixMilli())
	if err != nil {
		return false, fmt.Errorf("count mail tokens: %w", err)
	}
	return n >= maxMails, nil
}

// link returns whose link a secret is of, without using it up.
func (s *Service) link(ctx context.Context, q db.Querier, purpose, token string) (hash []byte, u *User, err error) {
	if len(token) != secretLength {
		return nil, nil, ErrLink
	}
	for _, hash := range s.hashes(purpose, token) {
		user, err := db.Value[string](ctx, q, `SELECT user_id FROM mail_tokens WHERE hash = $1 AND used_at IS NULL AND expires_at > $2`, hash, s.now().UnixMilli())
		if errors.Is(err, db.ErrNone) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("mail token: %w", err)
		}
		u, err := oneUser(ctx, q, `id = $1`, user)
		return hash, u, err
	}
	return nil, nil, ErrLink
}

// useLink uses a link up, and with it every other of its purpose the user has.
func (s *Service) useLink(ctx context.Context, tx *db.Tx, hash []byte, u *User, purpose string) error {
	now := s.now().UnixMilli()
	// The condition decides between two who use it at once.
	n, err := db.Exec(ctx, tx, `UPDATE mail_tokens SET used_at = $2 WHERE hash = $1 AND used_at IS NULL`, hash, now)
	if err == nil && n == 1 {
		_, err = db.Exec(ctx, tx, `UPDATE mail_tokens SET used_at = $3 WHERE user_id = $1 AND purpose = $2 AND used_at IS NULL`, u.ID, purpose, now)
	}
	if err != nil {
		return fmt.Errorf("use mail token: %w", err)
	}
	if n == 0 {
		return ErrLink
	}
	return nil
}

// VerifyEmail takes the secret of a verification link and marks its user's
// address as proven. It works once.
func (s *Service) VerifyEmail(ctx context.Context, token string) (*User, error) {
	var u *User
	err := s.store.Tx(ctx, func(tx *db.Tx) error {
		hash, found, err := s.link(ctx, tx, purposeVerify, token)
		if err != nil {
			return err
		}
		u = found
		if err := s.useLink(ctx, tx, hash, u, purposeVerify); err != nil {
			return err
		}
		if u.EmailVerifiedAt.IsZero() {
			u.EmailVerifiedAt = s.now()
		}
		if err := s.setVerified(ctx, tx, u.ID, u.EmailVerifiedAt); err != nil {
			return err
		}
		return s.record(ctx, tx, nil, u, "user.verify", nil)
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// ResendVerification mails the person who asks another verification link,
// unless their address is proven or they have been sent enough for now.
func (s *Service) ResendVerification(ctx context.Context, by *access.Principal) error {
	if err := person(by); err != nil {
		return err
	}
	u, err := s.User(ctx, by.User)
	if err != nil || !u.EmailVerifiedAt.IsZero() {
		return err
	}
	return s.mailLink(ctx, u, purposeVerify, verifyLife, s.verifyMessage)
}

// Forgot mails a link that sets a new password, if the address is somebody's.
// The answer is the same when it is not.
func (s *Service) Forgot(ctx context.Context, pool, email string) error {
	u, err := s.UserByEmail(ctx, pool, email)
	if errors.Is(err, ErrNoUser) {
		// The write that a known address costs, so that time tells nothing.
		_, err = db.Exec(ctx, s.store, `UPDATE installation SET updated_at = updated_at WHERE name = $1`, signingRow)
		return err
	}
	if err != nil || !u.SuspendedAt.IsZero() {
		return err
	}
	return s.mailLink(ctx, u, purposeReset, resetLife, s.resetMessage)
}

func (s *Service) mailLink(ctx context.Context, u *User, purpose string, life time.Duration, message func(*User, string) *Message) error {
	var m *Message
	err := s.store.Tx(ctx, func(tx *db.Tx) error {
		m = nil
		enough, err := s.tooMany(ctx, tx, u.ID, purpose)
		if err != nil || enough {
			return err
		}
		token, err := s.mailToken(ctx, tx, u.ID, purpose, life)
		if err != nil {
			return err
		}
		m = message(u, token)
		return s.record(ctx, tx, nil, u, "user."+purpose+"_link", nil)
	})
	if err == nil {
		s.send(ctx, m)
	}
	return err
}

// Reset sets a new password by the secret of a link. The link works once, a
// password that is refused does not use it up, and every session ends.
func (s *Service) Reset(ctx context.Context, pool, token, password string) (*User, error) {
	_, u, err := s.link(ctx, s.store, purposeReset, token)
	if err != nil {
		return nil, err
	}
	if u.Pool != pool || !u.SuspendedAt.IsZero() {
		return nil, ErrLink
	}
	hash, err := s.newPassword(ctx, u, password)
	if err != nil {
		return nil, err
	}
	err = s.store.Tx(ctx, func(tx *db.Tx) error {
		link, _, err := s.link(ctx, tx, purposeReset, token)
		if err != nil {
			return err
		}
		if err := s.useLink(ctx, tx, link, u, purposeReset); err != nil {
			return err
		}
		// The link came by mail, so the address is proven too.
		if err := s.setVerified(ctx, tx, u.ID, s.now()); err != nil {
			return err
		}
		// Whoever was locked out may use the new password at once.
		if _, err := db.Exec(ctx, tx, `DELETE FROM login_failures WHERE scope = 'account' AND subject LIKE $1`, s.lockSubject(u.Pool, u.Email)+"/%"); err != nil {
			return fmt.Errorf("clear failed sign-ins: %w", err)
		}
		return s.setPassword(ctx, tx, nil, u, hash, "user.reset", "")
	})
	if err != nil {
		return nil, err
	}
	return u, nil
}

// ChangePassword sets a new password for the person who asks and ends their
// other sessions. Guesses at the present one count like failed sign-ins.
func (s *Service) ChangePassword(ctx context.Context, by *access.Principal, present, next string, from Client) error {
	if err := person(by); err != nil {
		return err
	}
	u, err := s.User(ctx, by.User)
	if err != nil {
		return err
	}
	subject := s.lockSubject(u.Pool, u.Email)
	if len(present) > maxPassword {
		return ErrCredentials
	}
	if err := s.checkLock(ctx, subject, from.IP); err != nil {
		return err
	}
	if _, err := s.checkPasswordOf(ctx, u, present, subject, from.IP); err != nil {
		return err
	}
	hash, err := s.newPassword(ctx, u, next)
	if err != nil {
		return err
	}
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		if err := clearFailures(ctx, tx, subject, from.IP); err != nil {
			return err
		}
		return s.setPassword(ctx, tx, by, u, hash, "user.password", by.ID)
	})
}

func (s *Service) newPassword(ctx context.Context, u *User, password string) (string, error) {
	mailbox, _, _ := strings.Cut(u.Email, "@")
	if err := checkPassword(password, mailbox, u.FirstName, u.LastName); err != nil {
		return "", err
	}
	return s.hasher.hash(ctx, password)
}

// setPassword stores a hash. Open reset links of the user die with the old
// password, and so does every session but keep. The row is written first, and
// so locked: a sign-in with the old password that is under way comes before,
// and its session is ended, or after, and is refused.
func (s *Service) setPassword(ctx context.Context, tx *db.Tx, by *access.Principal, u *User, hash, action, keep string) error {
	now := s.now().UnixMilli()
	if _, err := db.Exec(ctx, tx, `UPDATE users SET password_hash = $2, password_changed_at = $3 WHERE id = $1`, u.ID, hash, now); err != nil {
		return fmt.Errorf("set password: %w", err)
	}
	if _, err := db.Exec(ctx, tx, `UPDATE mail_tokens SET used_at = $3 WHERE user_id = $1 AND purpose = $2 AND used_at IS NULL`, u.ID, purposeReset, now); err != nil {
		return fmt.Errorf("end reset links: %w", err)
	}
	if err := s.endSessions(ctx, tx, `user_id = $2 AND id <> $3`, u.ID, keep); err != nil {
		return err
	}
	tx.Changed(KindPassword, u.ID)
	return s.record(ctx, tx, by, u, action, nil)
}

// Invitation shows what an invitation's link is for, without using it up.
func (s *Service) Invitation(ctx context.Context, token string) (*tenancy.Invitation, *tenancy.Organization, error) {
	inv, err := s.tenancy.Invitation(ctx, s.store, token)
	if err != nil {
		return nil, nil, err
	}
	o, err := s.tenancy.Organization(ctx, inv.Organization)
	return inv, o, err
}

// Sweep deletes what has run out: old links, refresh tokens, sessions and
// counts of failures. Run it daily.
func (s *Service) Sweep(ctx context.Context) error {
	now := s.now()
	old := now.Add(-sessionLife).UnixMilli()
	return s.store.Tx(ctx, func(tx *db.Tx) error {
		for _, q := range []struct {
			text string
			at   int64
		}{
			{`DELETE FROM mail_tokens WHERE expires_at < $1`, now.Add(-24 * time.Hour).UnixMilli()},
			{`DELETE FROM login_failures WHERE window_started_at < $1`, now.Add(-2 * lockWindow).UnixMilli()},
			{`DELETE FROM refresh_tokens WHERE expires_at < $1 OR session_id IN (SELECT id FROM sessions WHERE ended_at < $1 OR expires_at < $1)`, old},
			{`DELETE FROM sessions WHERE (ended_at < $1 OR expires_at < $1) AND NOT EXISTS (SELECT 1 FROM refresh_tokens r WHERE r.session_id = sessions.id)`, old},
		} {
			if _, err := db.Exec(ctx, tx, q.text, q.at); err != nil {
				return fmt.Errorf("sweep: %w", err)
			}
		}
		return nil
	})
}
