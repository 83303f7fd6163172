package template

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"headgate/internal/db"
)

// Somebody may have written the value of a header into a template's files, so
// they are kept sealed for their row, as base64. Rows of before are the JSON
// itself, which begins as base64 never does.

func filesPlace(organization, slug string) string { return "templates:" + organization + ":" + slug }

func plainFiles(kept string) bool { return strings.HasPrefix(kept, "{") }

func (s *Service) sealFiles(organization, slug string, files map[string]string) (string, error) {
	text, err := json.Marshal(files)
	if err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(s.Keys.Seal(filesPlace(organization, slug), text)), nil
}

func (s *Service) openFiles(organization, slug, kept string) (files map[string]string, err error) {
	text := []byte(kept)
	if !plainFiles(kept) {
		if text, err = base64.StdEncoding.DecodeString(kept); err != nil {
			return nil, err
		}
		if text, err = s.Keys.Open(filesPlace(organization, slug), text); err != nil {
			return nil, err
		}
	}
	return files, json.Unmarshal(text, &files)
}

// SealOld seals the files of templates that were kept before they were sealed,
// and returns how many those were.
func (s *Service) SealOld(ctx context.Context) (sealed int64, err error) {
	rows, err := db.All(ctx, s.Store, func(r *[3]string) []any { return []any{&r[0], &r[1], &r[2]} },
		`SELECT organization_id, slug, files FROM templates WHERE files LIKE '{%'`)
	if err != nil {
		return 0, fmt.Errorf("find templates: %w", err)
	}
	for _, r := range rows {
		files, err := s.openFiles(r[0], r[1], r[2])
		if err != nil {
			continue // who lists it is told; no start fails for it
		}
		text, err := s.sealFiles(r[0], r[1], files)
		if err != nil {
			return sealed, err
		}
		n, err := db.Exec(ctx, s.Store, `UPDATE templates SET files = $4 WHERE organization_id = $1 AND slug = $2 AND files = $3`, r[0], r[1], r[2], text)
		if err != nil {
			return sealed, fmt.Errorf("seal a template: %w", err)
		}
		sealed += n
	}
	return sealed, nil
}
