package stdio

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"headgate/internal/mcp"
)

const (
	maxMemory  = 4 << 20
	rememberIn = 500 * time.Millisecond // so that a burst of lists is one write
)

// memory is what is kept of a program in a file beside its work directory,
// where the child cannot reach it: after a start of Headgate, lists of a
// hundred programs wake none of them.
type memory struct {
	Key      string                     `json:"key"` // of the version and the credentials that it is about
	Modern   bool                       `json:"modern"`
	Revision mcp.Revision               `json:"revision"`
	Facts    json.RawMessage            `json:"facts"`
	Lists    map[string]json.RawMessage `json:"lists"`
}

func (k key) hash() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %q", k.server, k.version, k.identity))
	return hex.EncodeToString(sum[:])
}

func (p *program) memoryFile() string {
	return filepath.Join(filepath.Dir(p.dir), "."+filepath.Base(p.dir)+".json")
}

// recall reads what was kept. What does not fit is as if it were not there.
func (p *program) recall() {
	if p.dir == "" {
		return
	}
	info, err := os.Lstat(p.memoryFile())
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxMemory {
		return
	}
	text, err := os.ReadFile(p.memoryFile())
	var m memory
	if err != nil || mcp.Check(text, mcp.Limits{}) != nil || json.Unmarshal(text, &m) != nil || m.Key != p.key.hash() {
		return
	}
	f := &facts{mcp.Legacy, m.Revision, m.Facts}
	if m.Modern {
		f.era = mcp.Modern
	}
	if known, ok := mcp.Known(string(m.Revision)); !ok || known.Era() != f.era || len(m.Facts) == 0 || m.Facts[0] != '{' {
		return
	}
	p.facts.Store(f)
	p.learn(f.era)
	p.lists.mu.Lock()
	defer p.lists.mu.Unlock()
	p.lists.known = map[string][]byte{}
	for at, list := range m.Lists {
		p.lists.known[at] = list
		p.lists.size += len(list)
	}
}

// remember keeps what is known, in a moment, unless that is about to be done.
func (p *program) remember() {
	if p.dir == "" || !p.writing.CompareAndSwap(false, true) {
		return
	}
	if !p.host.spawn(func() {
		_ = pause(p.host.ctx, rememberIn) // at the end of Headgate at once
		p.writing.Store(false)
		if err := p.write(); err != nil {
			p.host.opts.Log.Warn("the lists of a stdio server could not be kept", "server", p.server.Slug, "error", err)
		}
	}) {
		p.writing.Store(false)
	}
}

func (p *program) write() error {
	f := p.facts.Load()
	if f == nil {
		return nil
	}
	m := memory{Key: p.key.hash(), Modern: f.era == mcp.Modern, Revision: f.revision, Facts: f.result, Lists: map[string]json.RawMessage{}}
	p.lists.mu.Lock()
	for at, list := range maps.All(p.lists.known) {
		m.Lists[at] = list
	}
	p.lists.mu.Unlock()
	text, err := json.Marshal(&m)
	if err != nil || len(text) > maxMemory {
		return err
	}
	fresh := p.memoryFile() + ".new"
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		return err
	}
	return os.Rename(fresh, p.memoryFile())
}

// forget drops what was kept: a list in it is old.
func (p *program) forget() {
	if p.dir != "" {
		_ = os.Remove(p.memoryFile()) // it may not be there
		p.remember()
	}
}
