package workspace

import (
	"context"
	"sync"
	"time"

	"headgate/internal/fault"
)

const (
	maxKnown     = 10_000
	loadAttempts = 8
)

// memory holds the workspaces of organizations in use. A list that was read
// before a change is refused by put, so that none is older than the last one.
type memory struct {
	mu    sync.RWMutex
	epoch uint64
	lists map[string][]Workspace // never written to once here
}

func newMemory() *memory { return &memory{lists: map[string][]Workspace{}} }

func (m *memory) get(organization string) (list []Workspace, epoch uint64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.lists[organization], m.epoch
}

func (m *memory) put(organization string, list []Workspace, epoch uint64) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.epoch != epoch {
		return false
	}
	for other := range m.lists {
		if len(m.lists) < maxKnown {
			break
		}
		delete(m.lists, other)
	}
	m.lists[organization] = list
	return true
}

// changed is told of every committed change of the store.
func (m *memory) changed(kind, ref string) {
	if kind != "workspaces" && kind != "organization" {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.epoch++
	delete(m.lists, ref)
}

var errBusy = fault.New(fault.Unavailable, "workspace.busy", "Workspaces are changing too fast to read them. Try again in a moment.")

// all returns the organization's workspaces, oldest first. Nobody may write to
// what it returns.
func (s *Service) all(ctx context.Context, organization string) ([]Workspace, error) {
	for range loadAttempts {
		known, epoch := s.known.get(organization)
		if known != nil {
			return known, nil
		}
		read, err := list(ctx, s.store, organization)
		if err != nil || len(read) == 0 || s.known.put(organization, read, epoch) {
			return read, err
		}
	}
	return nil, errBusy.After(time.Second)
}
