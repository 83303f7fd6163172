package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrMissing says that no PostgreSQL server is installed.
var ErrMissing = errors.New("no PostgreSQL 13 or newer found: install the server (Debian: postgresql) or set HEADGATE_TEST_DATABASE to the URL of one")

const oldest = 13 // DROP DATABASE … WITH (FORCE)

// places are looked in after PATH. Distributions keep the server out of it.
var places = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/usr/local/pgsql/bin",
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
}

// Find returns the first directory that holds a working postgres and initdb.
func Find(ctx context.Context) (string, error) {
	dirs := filepath.SplitList(os.Getenv("PATH"))
	for _, pattern := range places {
		found, _ := filepath.Glob(pattern) // the patterns are well formed
		slices.SortFunc(found, func(a, b string) int { return number(b) - number(a) })
		dirs = append(dirs, found...)
	}
	for _, dir := range dirs {
		if works(ctx, dir) {
			return dir, nil
		}
	}
	return "", ErrMissing
}

// works runs both programs: an entry of PATH may be a wrapper for something
// that is not installed.
func works(ctx context.Context, dir string) bool {
	return dir != "" && version(ctx, filepath.Join(dir, "initdb")) >= oldest &&
		version(ctx, filepath.Join(dir, "postgres")) >= oldest
}

// version returns the major version a program reports, 0 when it does not run.
func version(ctx context.Context, program string) int {
	if _, err := os.Stat(program); err != nil {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(out), "(PostgreSQL) ")
	return number(rest)
}

// number returns the first whole number in s: versions sort by it.
func number(s string) int {
	digit := func(r rune) bool { return r >= '0' && r <= '9' }
	s = s[max(0, strings.IndexFunc(s, digit)):]
	if end := strings.IndexFunc(s, func(r rune) bool { return !digit(r) }); end >= 0 {
		s = s[:end]
	}
	n, _ := strconv.Atoi(s)
	return n
}

// initdb makes an empty data directory.
func initdb(ctx context.Context, bin, data string, as *owner) error {
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "initdb"),
		"--pgdata="+data, "--username="+User, "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
	cmd.Env = []string{"PATH=" + bin + ":/usr/bin:/bin", "LC_ALL=C"}
	cmd.Dir = filepath.Dir(data)
	cmd.SysProcAttr = as.attributes()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}
