package workspace

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"headgate/internal/access"
	"headgate/internal/db"
)

// The bounds of a workspace's files.
const (
	MaxFiles     = 200
	MaxFileBytes = 1 << 20 // all together
)

// CheckFiles holds files to plain relative paths, which cannot leave a
// directory they are written to, and to the bounds.
func CheckFiles(files map[string]string) error {
	if len(files) > MaxFiles {
		return ErrFiles.With("limit", MaxFiles)
	}
	total := 0
	for name, text := range files {
		if !plainPath(name) || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return ErrFiles
		}
		if total += len(name) + len(text); total > MaxFileBytes {
			return ErrFiles.With("limit", MaxFileBytes)
		}
	}
	return nil
}

func plainPath(name string) bool {
	if name == "" || len(name) > 200 || !utf8.ValidString(name) || path.IsAbs(name) || path.Clean(name) != name || name == "." || strings.ContainsAny(name, `\:`) ||
		strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return false
	}
	return name != ".." && !strings.HasPrefix(name, "../")
}

// PutFiles replaces all files of a workspace, in the caller's transaction.
func (s *Service) PutFiles(ctx context.Context, tx *db.Tx, by *access.Principal, w Workspace, files map[string]string) error {
	if err := permit(by, w.Organization); err != nil {
		return err
	}
	if err := CheckFiles(files); err != nil {
		return err
	}
	if _, err := db.Exec(ctx, tx, `DELETE FROM workspace_files WHERE workspace_id = $1`, w.ID); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if _, err := db.Exec(ctx, tx, `INSERT INTO workspace_files (workspace_id, path, content) VALUES ($1, $2, $3)`, w.ID, name, files[name]); err != nil {
			return err
		}
	}
	return nil
}

// Files returns the files of a workspace.
func (s *Service) Files(ctx context.Context, w Workspace) (map[string]string, error) {
	type file struct{ path, content string }
	rows, err := db.All(ctx, s.store, func(f *file) []any { return []any{&f.path, &f.content} },
		`SELECT f.path, f.content FROM workspace_files f JOIN workspaces w ON w.id = f.workspace_id WHERE w.organization_id = $1 AND w.id = $2 ORDER BY f.path`, w.Organization, w.ID)
	if err != nil {
		return nil, err
	}
	files := make(map[string]string, len(rows))
	for _, f := range rows {
		files[f.path] = f.content
	}
	return files, nil
}
