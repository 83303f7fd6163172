package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// session is what headgate login keeps of one server, in a file of its own
// that only the user can read.
type session struct {
	URL          string    `json:"url"`
	Email        string    `json:"email"`
	Token        string    `json:"token"`
	RefreshToken string    `json:"refreshToken"`
	ExpiresAt    time.Time `json:"expiresAt"`
}

// sessionFile is where the session with a server is kept. The name holds a
// hash, so that any URL makes a valid one.
func (x *env) sessionFile(url string) (string, error) {
	dir := x.getenv("XDG_CONFIG_HOME")
	if dir == "" {
		var err error
		if dir, err = os.UserConfigDir(); err != nil {
			return "", invalid("there is no place to keep a session: set HOME, or XDG_CONFIG_HOME")
		}
	}
	sum := sha256.Sum256([]byte(url))
	return filepath.Join(dir, "headgate", "session-"+hex.EncodeToString(sum[:8])+".json"), nil
}

// readSession returns the session with a server, or nil when there is none.
func (x *env) readSession(url string) (*session, error) {
	path, err := x.sessionFile(url)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the session: %w", err)
	}
	var s session
	if json.Unmarshal(text, &s) != nil || s.URL != url || s.RefreshToken == "" {
		return nil, wrong(exitSignIn, "BAD_SESSION", "the session in %s cannot be read.\nSign in again: headgate login", path)
	}
	return &s, nil
}

// keep writes the session in one step: another command may read it now.
func (x *env) keep(s *session) error {
	path, err := x.sessionFile(s.URL)
	if err != nil {
		return err
	}
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("keep the session: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "session-*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("keep the session: %w", err)
	}
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
		return fmt.Errorf("keep the session: %w", err)
	}
	return nil
}

func (x *env) forget(url string) error {
	path, err := x.sessionFile(url)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget the session: %w", err)
	}
	return nil
}
