package launch

import (
	"bytes"
	"context"
	"encoding/json"
	"path"
	"regexp"
	"strings"

	"headgate/internal/access"
)

// Source is where a new entry comes from: exactly one of the first three.
type Source struct {
	NPM        string // package@1.2.3
	ServerJSON []byte // as the MCP registry has them
	Entry      []byte // an entry file
	Name       string // of the entry, instead of the one that follows from the source
	Bin        string // with NPM: which of the package's programs
}

// Add writes an entry and stores it. What the source says that is not taken
// over comes back as warnings. The entry is not enabled.
func (s *Service) Add(ctx context.Context, by *access.Principal, src Source) (*Offer, []string, error) {
	if err := access.Require(by, access.Operate); err != nil {
		return nil, nil, err
	}
	e, warnings, err := src.read()
	if err != nil {
		return nil, nil, err
	}
	if src.Name != "" {
		e.Name = src.Name
	}
	shipped, err := s.shipped()
	if err != nil {
		return nil, nil, err
	}
	if shipped[e.Name] != nil {
		return nil, nil, ErrTaken.With("name", e.Name)
	}
	st := &stored{Entry: e}
	if p := e.Package; p != nil {
		if st.Lock, err = s.resolve(ctx, p); err != nil {
			return nil, nil, err
		}
		st.Lock = compact(st.Lock)
		if p.Integrity == "" { // the registry's word is pinned now
			if p.Integrity, err = integrityOf(st.Lock, p.NPM); err != nil {
				return nil, nil, err
			}
		}
	}
	if err := e.check(); err != nil {
		return nil, nil, err
	}
	if _, err := st.command(); err != nil {
		return nil, nil, err
	}
	if err := s.save(ctx, by, st); err != nil {
		return nil, nil, err
	}
	o, err := s.offer(st, nil)
	return o, warnings, err
}

func (src *Source) read() (*Entry, []string, error) {
	given := 0
	for _, is := range []bool{src.NPM != "", src.ServerJSON != nil, src.Entry != nil} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, nil, ErrEntry.Saying("An entry is made of one thing: an npm package, a server.json or an entry file.")
	case src.Entry != nil:
		e, err := Parse(src.Entry)
		return e, nil, err
	case src.ServerJSON != nil:
		return fromServerJSON(src.ServerJSON)
	}
	at := strings.LastIndexByte(src.NPM, '@')
	if at <= 0 {
		return nil, nil, ErrEntry.Saying("Name the package with its exact version, such as @scope/name@1.2.3.")
	}
	p := &Package{NPM: src.NPM[:at], Version: src.NPM[at+1:], Bin: src.Bin}
	if err := p.check(); err != nil {
		return nil, nil, err
	}
	return &Entry{Name: slugOf(p.NPM), Title: p.NPM, Package: p, Runtime: "node"}, nil, nil
}

// check holds a package's name and version to the rules before npm sees them.
func (p *Package) check() error {
	if !npmName.MatchString(p.NPM) || len(p.NPM) > 214 || strings.HasPrefix(p.NPM, "-") {
		return ErrEntry.Saying("This is no npm package name.")
	}
	if !exact.MatchString(p.Version) {
		return ErrEntry.Saying("The version must be exact, such as 1.2.3: no range and no tag.")
	}
	return nil
}

// compact is the form that a lock file is stored in.
func compact(lock []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, lock) != nil {
		return lock // what is no JSON is refused later
	}
	return b.Bytes()
}

func integrityOf(lock []byte, pkg string) (string, error) {
	l, err := parseLock(lock)
	if err != nil {
		return "", err
	}
	return l.Packages["node_modules/"+pkg].Integrity, nil
}

var notSlug = regexp.MustCompile(`[^a-z0-9]+`)

// slugOf makes an entry's name of a package's: @acme/mcp-server-notes is notes.
func slugOf(name string) string {
	base := strings.ToLower(path.Base(name))
	for _, prefix := range []string{"mcp-server-", "server-", "mcp-"} {
		base = strings.TrimPrefix(base, prefix)
	}
	for _, suffix := range []string{"-mcp-server", "-server", "-mcp"} {
		base = strings.TrimSuffix(base, suffix)
	}
	slug := strings.Trim(notSlug.ReplaceAllString(base, "-"), "-")
	return slug[:min(len(slug), 32)]
}
