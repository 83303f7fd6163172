package catalog

import (
	"context"
	"fmt"
	"strings"

	"headgate/internal/db"
)

// ServiceNames returns the names of services by id, of those that are gone
// too: logs tell of them. Whoever asks got the ids from rows they may read.
func ServiceNames(ctx context.Context, q db.Querier, services []string) (map[string]string, error) {
	names := make(map[string]string, len(services))
	for len(services) > 0 {
		n := min(len(services), 500)
		marks, args := make([]string, n), make([]any, n)
		for i, s := range services[:n] {
			marks[i], args[i] = fmt.Sprintf("$%d", i+1), s
		}
		rows, err := db.All(ctx, q, func(r *[2]string) []any { return []any{&r[0], &r[1]} },
			`SELECT id, name FROM services WHERE id IN (`+strings.Join(marks, ",")+`)`, args...)
		if err != nil {
			return nil, fmt.Errorf("names of services: %w", err)
		}
		for _, r := range rows {
			names[r[0]] = r[1]
		}
		services = services[n:]
	}
	return names, nil
}
