package upstream_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"

	"headgate/internal/catalog"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
)

// board is a shelf in memory.
type board struct {
	mu   sync.Mutex
	all  map[string][]upstream.Shelved
	puts int
	bad  error
}

func (b *board) Take(_ context.Context, s *catalog.Server, identity string) ([]upstream.Shelved, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all[s.ID+identity], b.bad
}

func (b *board) Put(_ context.Context, s *catalog.Server, identity string, l upstream.Shelved) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.puts++
	b.all[s.ID+identity] = []upstream.Shelved{l}
	return b.bad
}

func (b *board) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.puts
}

func TestShelf(t *testing.T) {
	b := &board{all: map[string][]upstream.Shelved{}}
	told := make(chan string, 8)
	start := func(t *testing.T) *upstream.Hub {
		return newHub(t, func(o *upstream.Options) {
			o.Shelf, o.Changed = b, func(server string, _ upstream.ListKind) { told <- server }
		})
	}
	tools, hangs := `{"name":"a","n":9007199254740993}`, false
	release := make(chan struct{})
	var mu sync.Mutex
	u := newScript(t).modern("").on("tools/list", func(w http.ResponseWriter, r *http.Request, m message) bool {
		mu.Lock()
		wait := hangs
		mu.Unlock()
		if wait {
			select {
			case <-release:
			case <-r.Context().Done():
				return true
			}
		}
		mu.Lock()
		defer mu.Unlock()
		respond(w, m.ID, `{"tools":[`+tools+`]}`)
		return true
	})
	s := serverAt(u.URL)
	h := start(t)
	testkit.Must(h.List(t.Context(), s, ann, upstream.Tools))(t)
	eventually(t, "the list is put away", func() bool { return b.count() == 1 })

	t.Run("after a start a list is there at once, and the server is asked beside it", func(t *testing.T) {
		mu.Lock()
		hangs = true
		mu.Unlock()
		h := start(t)
		kept := h.Kept(t.Context(), s, ann, upstream.Tools)
		if kept == nil {
			t.Fatal("nothing is kept")
		}
		testkit.Equal(t, string(kept.Items[0].Raw), tools)
		if testkit.Must(h.List(t.Context(), s, ann, upstream.Tools))(t) != kept {
			t.Error("another list")
		}
		eventually(t, "it is asked", func() bool { return u.count("tools/list") == 2 })
		testkit.Equal(t, h.Silent(t.Context(), s, ann), false)
		mu.Lock()
		hangs, tools = false, `{"name":"b"}`
		mu.Unlock()
		close(release)
		testkit.Equal(t, <-told, s.ID)
		eventually(t, "the new list is there", func() bool {
			l := h.Kept(t.Context(), s, ann, upstream.Tools)
			return l != nil && len(l.Items) == 1
		})
		eventually(t, "and put away", func() bool { return b.count() == 2 })
	})
	t.Run("the same list again is not put away again", func(t *testing.T) {
		h := start(t)
		old := h.Kept(t.Context(), s, ann, upstream.Tools)
		eventually(t, "it is asked", func() bool { l := h.Kept(t.Context(), s, ann, upstream.Tools); return l != nil && l.At != old.At })
		testkit.Equal(t, h.Kept(t.Context(), s, ann, upstream.Tools).Version, old.Version)
		testkit.Equal(t, b.count(), 2)
	})
	t.Run("of one that was never heard in time that is known, until it is", func(t *testing.T) {
		other := serverAt(u.URL)
		h := start(t)
		testkit.Equal(t, h.Silent(t.Context(), other, ann), false)
		h.Unheard(t.Context(), other, ann)
		eventually(t, "it is put away", func() bool { return b.count() == 3 })
		h = start(t)
		testkit.Equal(t, h.Silent(t.Context(), other, ann), true)
		testkit.Must(h.List(t.Context(), other, ann, upstream.Tools))(t)
		testkit.Equal(t, h.Silent(t.Context(), other, ann), false)
		eventually(t, "its list is put away", func() bool { return b.count() == 4 })
		testkit.Equal(t, start(t).Silent(t.Context(), other, ann), false)
	})
	t.Run("what is on it and no list is as if it were not there, and so is a shelf that cannot be read", func(t *testing.T) {
		for _, text := range []string{`[{"name":"a","name":"b"}]`, `nonsense`, `{}`, `[`} {
			bad := serverAt(u.URL)
			b.mu.Lock()
			b.all[bad.ID+"shared"] = []upstream.Shelved{{Kind: upstream.Tools, Items: []byte(text)}}
			b.mu.Unlock()
			l := testkit.Must(start(t).List(t.Context(), bad, ann, upstream.Tools))(t)
			testkit.Equal(t, string(l.Items[0].Raw), `{"name":"b"}`)
		}
		b.mu.Lock()
		b.bad = errors.New("away")
		b.mu.Unlock()
		testkit.Must(start(t).List(t.Context(), serverAt(u.URL), ann, upstream.Tools))(t)
	})
}
