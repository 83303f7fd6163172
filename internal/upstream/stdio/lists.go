package stdio

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"headgate/internal/mcp"
)

const (
	maxLists     = 256
	maxListBytes = 16 << 20
)

// lists are the lists a child gave last, for the time that it sleeps: nothing
// changes in a program that does not run.
type lists struct {
	mu    sync.Mutex
	known map[string][]byte // raw results by method and cursor
	size  int
}

// place names a page of a list; "" for what is none.
func place(body []byte, e *mcp.Envelope) string {
	switch e.Method {
	case mcp.MethodToolsList, mcp.MethodPromptsList, mcp.MethodResourcesList, mcp.MethodResourceTemplatesList:
		return e.Method + " " + string(e.Cursor.Of(body))
	}
	return ""
}

// keep remembers an answer if it is a page of a list, and reports whether it is
// another one than before.
func (l *lists) keep(body []byte, e *mcp.Envelope, r *reply) (changed bool) {
	at := place(body, e)
	if at == "" || r.kind != mcp.Response {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.known == nil || len(l.known) >= maxLists || l.size > maxListBytes {
		l.known, l.size = map[string][]byte{}, 0
	}
	result := r.result.Of(r.line)
	if bytes.Equal(result, l.known[at]) {
		return false
	}
	l.size += len(result) - len(l.known[at])
	l.known[at] = slices.Clone(result)
	return true
}

func (l *lists) page(at string) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.known[at]
}

func (l *lists) drop(prefix string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for at, result := range l.known {
		if strings.HasPrefix(at, prefix) {
			l.size -= len(result)
			delete(l.known, at)
		}
	}
}

// asleep answers for a child that does not run, if that is possible.
func (p *program) asleep(body []byte, e *mcp.Envelope) []byte {
	at := place(body, e)
	if at == "" || p.running() != nil {
		return nil
	}
	return p.lists.page(at)
}

// outdated forgets the lists that a notification says have changed.
func (p *program) outdated(method string) {
	switch method {
	case mcp.NotifyToolsChanged:
		p.lists.drop("tools/")
	case mcp.NotifyPromptsChanged:
		p.lists.drop("prompts/")
	case mcp.NotifyResourcesChanged:
		p.lists.drop("resources/")
	default:
		return
	}
	p.forget()
}
