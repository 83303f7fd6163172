package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const (
	installTime = 5 * time.Minute
	marker      = ".headgate-lock" // names the lock file that an installation is made of
)

// installation is where an entry's package lies, or is to lie.
func (s *Service) installation(e *Entry) string {
	return filepath.Join(s.data, "catalog", e.Name+"@"+e.Package.Version)
}

// install puts an entry's package in its place as its lock file says, unless
// it is there. No script of any package is run.
func (s *Service) install(ctx context.Context, e *Entry, lock []byte) error {
	if e.Package == nil {
		return nil
	}
	if _, err := readLock(e, lock); err != nil {
		return err
	}
	s.installing.Lock()
	defer s.installing.Unlock()
	dir := s.installation(e)
	if s.installed(dir, hashOf(lock)) {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return fmt.Errorf("make the catalog directory: %w", err)
	}
	fresh, err := os.MkdirTemp(filepath.Dir(dir), ".new-")
	if err != nil {
		return fmt.Errorf("make a directory to install in: %w", err)
	}
	defer os.RemoveAll(fresh)
	if err := project(fresh, e.Package, lock); err != nil {
		return err
	}
	if err := s.npm(ctx, fresh, "ci", "--omit=dev"); err != nil {
		return err
	}
	if err := errors.Join(readable(fresh), os.WriteFile(filepath.Join(fresh, marker), []byte(hashOf(lock)), 0o644)); err != nil {
		return fmt.Errorf("finish the installation: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("take an older installation away: %w", err)
	}
	return os.Rename(fresh, dir)
}

// installed reports whether a directory is an installation of a lock file.
func (s *Service) installed(dir, hash string) bool {
	text, err := os.ReadFile(filepath.Join(dir, marker))
	return err == nil && string(text) == hash
}

// resolve asks npm for the lock file of a package in an exact version.
func (s *Service) resolve(ctx context.Context, p *Package) ([]byte, error) {
	dir, err := os.MkdirTemp("", "headgate-npm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := project(dir, p, nil); err != nil {
		return nil, err
	}
	if err := s.npm(ctx, dir, "install", "--package-lock-only", "--omit-lockfile-registry-resolved"); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(dir, "package-lock.json"))
}

// project writes what npm needs to install one package.
func project(dir string, p *Package, lock []byte) error {
	text, err := json.Marshal(map[string]any{"name": "headgate-catalog", "private": true, "dependencies": map[string]string{p.NPM: p.Version}})
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "package.json"), text, 0o644)
	}
	if err == nil && lock != nil {
		err = os.WriteFile(filepath.Join(dir, "package-lock.json"), lock, 0o644)
	}
	return err
}

// npm runs npm in a directory. It gets our environment without our settings.
func (s *Service) npm(ctx context.Context, dir string, args ...string) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return ErrRuntime.Saying("npm is not on this machine. Install Node.js with npm, then try again.").Because(err)
	}
	ctx, cancel := context.WithTimeout(ctx, installTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, append(args, "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--prefer-offline", "--loglevel=error")...)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "HEADGATE_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil:
		return nil
	case bytes.Contains(out, []byte("EINTEGRITY")):
		err = ErrIntegrity.Because(err)
	case bytes.Contains(out, []byte("E404")), bytes.Contains(out, []byte("ETARGET")):
		err = ErrEntry.Saying("npm knows no such package in this version.").Because(err)
	default:
		err = ErrInstall.Because(err)
	}
	s.log.Warn("npm failed", "error", err, "output", string(out[:min(len(out), 4000)]))
	return err
}

// readable lets every user read an installation: a child has a uid of its own.
// Nobody may write it.
func readable(dir string) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o644)
		if d.IsDir() || info.Mode()&0o100 != 0 {
			mode = 0o755
		}
		return os.Chmod(name, mode)
	})
}
