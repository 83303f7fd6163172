package launch

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"headgate/internal/catalog"
)

const (
	trialPrefix = "trial-"
	trialKept   = time.Hour       // of a try-out that a crash cut off
	freshFor    = 5 * time.Minute // what was made just now may belong to a row that is not committed yet
)

// Sweep removes what programs left behind: the files of servers that are gone,
// and of try-outs that were cut off.
func (s *Service) Sweep(ctx context.Context) error {
	dirs, err := filepath.Glob(filepath.Join(s.data, "stdio", "*", "*", "srv_*"))
	if err != nil {
		return err
	}
	trials, err := filepath.Glob(filepath.Join(s.data, "stdio", trialPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range trials {
		if s.older(dir, trialKept) {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	for _, dir := range dirs {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !s.older(dir, freshFor) {
			continue
		}
		lives, err := catalog.ServerLives(ctx, s.store, filepath.Base(dir))
		if err != nil {
			return err
		}
		if !lives {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

func (s *Service) older(dir string, than time.Duration) bool {
	info, err := os.Lstat(dir)
	return err == nil && strings.HasPrefix(dir, s.data) && s.now().Sub(info.ModTime()) > than
}
