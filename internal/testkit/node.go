package testkit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/testkit/flock"
)

// errNoNode says what is missing, in the line a skipped test shows.
var errNoNode = errors.New("no Node.js 20 or newer with npm found: install both (Debian: nodejs and npm)")

// The Node that everything from npm is asked to run on: the Inspector wants it.
const nodeMajor, nodeMinor = 22, 19

// Node returns the path of a Node.js that runs everything testkit installs: the
// machine's own when it is new enough, else a pinned one from npm.
func Node(t testing.TB) string {
	t.Helper()
	path, err := node()
	return installed(t, path, err)
}

// NPM returns the path of a program of an npm package, such as mcp-inspector of
// @modelcontextprotocol/inspector; run it with Node. Which version, the
// package.json that names the package says (testkit/node).
func NPM(t testing.TB, pkg, program string) string {
	t.Helper()
	dir, err := install(pkg)
	path := filepath.Join(installed(t, dir, err), "node_modules", ".bin", program)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s has no program %s: %v", pkg, program, err)
	}
	return path
}

// Script returns the path of a copy of the script file that can import pkg and
// what is installed beside it; run it with Node.
func Script(t testing.TB, pkg, file string) string {
	t.Helper()
	text := Must(os.ReadFile(file))(t)
	dir, err := install(pkg)
	dir = installed(t, dir, err)
	name := fmt.Sprintf("%x-%s", sha256.Sum256(text), filepath.Base(file))
	Must0(t, publish(filepath.Join(dir, name), text))
	return filepath.Join(dir, name)
}

// installed skips the test where Node is missing and fails it on other errors.
func installed(t testing.TB, path string, err error) string {
	t.Helper()
	if errors.Is(err, errNoNode) {
		missing(t, "%v", err)
	}
	Must0(t, err)
	return path
}

// node is asked for once per process.
var node = sync.OnceValues(func() (string, error) {
	if path, err := exec.LookPath("node"); err == nil && recent(path, nodeMajor, nodeMinor) {
		return path, nil
	}
	arch := map[string]string{"amd64": "x64", "arm64": "arm64"}[runtime.GOARCH]
	if runtime.GOOS != "linux" || arch == "" {
		return "", fmt.Errorf("%w; on this machine it has to be %d.%d or newer", errNoNode, nodeMajor, nodeMinor)
	}
	dir, err := install("node-linux-" + arch)
	return filepath.Join(dir, "node_modules", "node-linux-"+arch, "bin", "node"), err
})

// recent reports whether the node at path runs and is at least that version.
func recent(path string, major, minor int) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	parts := strings.SplitN(strings.TrimPrefix(strings.TrimSpace(string(out)), "v"), ".", 3)
	if err != nil || len(parts) < 2 {
		return false
	}
	hasMajor, err1 := strconv.Atoi(parts[0])
	hasMinor, err2 := strconv.Atoi(parts[1])
	return err1 == nil && err2 == nil && (hasMajor > major || hasMajor == major && hasMinor >= minor)
}

// install returns the directory of the project that has pkg, with its packages
// installed as the lock file says. Test processes take turns; only the first
// needs the network.
func install(pkg string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	source, err := project(root, pkg)
	if err != nil {
		return "", err
	}
	base := filepath.Join(root, ".cache", "npm")
	if err := os.MkdirAll(base, 0o755); err != nil {
		return "", err
	}
	dir := filepath.Join(base, filepath.Base(source))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	turn, err := flock.Exclusive(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer turn.Unlock()
	want, err := os.ReadFile(filepath.Join(source, "package-lock.json"))
	if err != nil {
		return "", err
	}
	done := filepath.Join(dir, "installed.json") // the lock file, once all of it is there
	if have, err := os.ReadFile(done); err == nil && bytes.Equal(have, want) {
		return dir, nil
	}
	if err := ci(ctx, source, dir); err != nil {
		return "", fmt.Errorf("install the npm packages of %s: %w", filepath.Base(source), err)
	}
	return dir, os.WriteFile(done, want, 0o644)
}

// project finds the directory under testkit/node whose package.json names pkg.
func project(root, pkg string) (string, error) {
	files, err := filepath.Glob(filepath.Join(root, "internal", "testkit", "node", "*", "package.json"))
	if err != nil {
		return "", err
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		var p struct{ Dependencies, OptionalDependencies map[string]string }
		if err := json.Unmarshal(text, &p); err != nil {
			return "", fmt.Errorf("%s: %w", file, err)
		}
		if p.Dependencies[pkg] != "" || p.OptionalDependencies[pkg] != "" {
			return filepath.Dir(file), nil
		}
	}
	return "", fmt.Errorf("no package.json under internal/testkit/node names %s: add it to one and write its lock file again", pkg)
}

// ci installs what source's lock file says into an empty dir.
func ci(ctx context.Context, source, dir string) error {
	npm, err := exec.LookPath("npm")
	if err != nil {
		return errNoNode
	}
	if path, err := exec.LookPath("node"); err != nil || !recent(path, 20, 0) {
		return errNoNode
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.CopyFS(dir, os.DirFS(source)); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
	cmd.Dir = dir
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci: %w\n%s", err, out)
	}
	return nil
}

// publish writes a file that other processes see whole or not at all.
func publish(path string, text []byte) error {
	if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, text) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
