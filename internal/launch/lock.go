package launch

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"path"
	"path/filepath"
	"strings"
)

const maxLock = 8 << 20

// lockFile is the part of a package-lock.json that is looked at.
type lockFile struct {
	Version  int                    `json:"lockfileVersion"`
	Packages map[string]lockPackage `json:"packages"`
}

type lockPackage struct {
	Version   string          `json:"version"`
	Resolved  string          `json:"resolved"`
	Integrity string          `json:"integrity"`
	Link      bool            `json:"link"`
	Bundled   bool            `json:"inBundle"`
	Bin       json.RawMessage `json:"bin"`
}

// readLock holds a lock file to the entry: the package in the version and with
// the hash that the entry pins, and every other package with a hash.
func readLock(e *Entry, text []byte) (*lockFile, error) {
	l, err := parseLock(text)
	if err != nil {
		return nil, err
	}
	for place, p := range l.Packages {
		switch {
		case place == "":
		case p.Link, !strings.HasPrefix(place, "node_modules/"), p.Resolved != "" && !strings.HasPrefix(p.Resolved, "https://"):
			return nil, ErrEntry.Saying("The package %s does not come from the registry.", path.Base(place))
		case !p.Bundled && !strings.HasPrefix(p.Integrity, "sha512-"):
			return nil, ErrEntry.Saying("The package %s has no hash in the lock file.", path.Base(place))
		}
	}
	main := l.Packages["node_modules/"+e.Package.NPM]
	if main.Version != e.Package.Version || main.Integrity != e.Package.Integrity {
		return nil, ErrIntegrity.With("entry", e.Name)
	}
	return l, nil
}

func parseLock(text []byte) (*lockFile, error) {
	l := &lockFile{}
	if len(text) > maxLock || json.Unmarshal(text, l) != nil || l.Version < 2 {
		return nil, ErrEntry.Saying("The entry's lock file is not readable, or is too old.")
	}
	return l, nil
}

// script is the path of the package's program below the installation.
func (l *lockFile) script(p *Package) (string, error) {
	var bins map[string]string
	raw := l.Packages["node_modules/"+p.NPM].Bin
	if len(raw) > 0 && json.Unmarshal(raw, &bins) != nil {
		var one string
		_ = json.Unmarshal(raw, &one) // neither: there is none
		bins = map[string]string{path.Base(p.NPM): one}
	}
	file, ok := bins[p.Bin]
	if p.Bin == "" && len(bins) == 1 {
		for _, file = range bins {
			ok = true
		}
	}
	file = filepath.FromSlash(strings.TrimPrefix(file, "./"))
	if !ok || !filepath.IsLocal(file) {
		return "", ErrEntry.Saying("The package has no program of that name. Name one of its programs in bin.").With("bins", names(bins))
	}
	return filepath.Join("node_modules", filepath.FromSlash(p.NPM), file), nil
}

func hashOf(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
