package notes_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/gateway/notes"
	"headgate/internal/testkit"
)

func TestNotes(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, store *db.Store) {
		now := time.UnixMilli(1_000_000)
		s := notes.New(store, func() time.Time { return now })
		until := now.Add(time.Hour)
		change := func(session string, change func(*notes.Note)) {
			t.Helper()
			testkit.Must0(t, s.Change(t.Context(), session, until, change))
		}
		read := func(session string) notes.Note {
			t.Helper()
			return testkit.Must(s.Read(t.Context(), session))(t)
		}
		var mu sync.Mutex // changes are announced by whoever makes them
		var told, set []string
		store.OnChange(func(kind, ref string) {
			mu.Lock()
			defer mu.Unlock()
			switch kind {
			case notes.Ended:
				told = append(told, ref)
			case notes.Set:
				set = append(set, ref)
			}
		})
		t.Run("others are told of what was set, whoever set it is not, and nothing of what was so before", func(t *testing.T) {
			other := notes.New(store, func() time.Time { return now })
			for range 2 {
				change("told", func(n *notes.Note) { n.Level = "debug" })
				change("told", func(n *notes.Note) { n.Subscribe(notes.Subscription{URI: "x:1", Workspace: "w", Server: "s"}) })
			}
			testkit.Equal(t, len(set), 2)
			for _, ref := range set {
				session, ok := other.Elsewhere(ref)
				testkit.Equal(t, session, notes.Ref("told"))
				testkit.Equal(t, ok, true)
				_, ok = s.Elsewhere(ref)
				testkit.Equal(t, ok, false)
			}
		})
		t.Run("nothing is kept of a session that set nothing", func(t *testing.T) {
			testkit.Equal(t, read("quiet"), notes.Note{})
		})
		t.Run("what was changed is read again, and a URI is there once", func(t *testing.T) {
			change("a", func(n *notes.Note) { n.Level = "debug" })
			change("a", func(n *notes.Note) { n.Subscribe(notes.Subscription{URI: "x:1", Workspace: "w", Server: "s"}) })
			change("a", func(n *notes.Note) { n.Subscribe(notes.Subscription{URI: "x:2", Workspace: "w", Server: "s"}) })
			change("a", func(n *notes.Note) { n.Subscribe(notes.Subscription{URI: "x:1", Workspace: "w", Server: "s2"}) })
			testkit.Equal(t, read("a"), notes.Note{Level: "debug", Subscriptions: []notes.Subscription{{"x:2", "w", "s"}, {"x:1", "w", "s2"}}})
			change("a", func(n *notes.Note) { n.Unsubscribe("x:2") })
			testkit.Equal(t, len(read("a").Subscriptions), 1)
			testkit.Equal(t, read("b"), notes.Note{})
		})
		t.Run("two changes at once are both kept", func(t *testing.T) {
			var wg sync.WaitGroup
			failed := make(chan error, 8)
			for i := range 8 {
				wg.Go(func() {
					failed <- s.Change(t.Context(), "busy", until, func(n *notes.Note) { n.Subscribe(notes.Subscription{URI: fmt.Sprint("x:", i)}) })
				})
			}
			wg.Wait()
			for range 8 {
				testkit.Must0(t, <-failed)
			}
			testkit.Equal(t, len(read("busy").Subscriptions), 8)
		})
		t.Run("a row is bounded: the newest are kept, and what is too long alone hides no other", func(t *testing.T) {
			change("long", func(n *notes.Note) {
				for i := range 100 {
					n.Subscribe(notes.Subscription{URI: fmt.Sprintf("x:%d/%s", i, strings.Repeat("y", 1000))})
				}
				n.Subscribe(notes.Subscription{URI: strings.Repeat("z", 100<<10)})
			})
			got := read("long").Subscriptions
			if len(got) < 50 || len(got) > 64 || !strings.HasPrefix(got[len(got)-1].URI, "x:99/") {
				t.Errorf("%d are kept", len(got))
			}
		})
		t.Run("an ended session stays ended, keeps nothing else, and others are told", func(t *testing.T) {
			testkit.Equal(t, len(told), 0)
			change("a", func(n *notes.Note) { n.Ended = true })
			change("a", func(n *notes.Note) { n.Ended, n.Level = false, "info" })
			testkit.Equal(t, read("a").Ended, true)
			testkit.Equal(t, read("a").Level, "")
			testkit.Equal(t, told, []string{notes.Ref("a")})
		})
		t.Run("no row holds what names the session", func(t *testing.T) {
			change("a-name-of-a-session", func(n *notes.Note) { n.Level = "info" })
			n := testkit.Must(db.Value[int64](t.Context(), store, `SELECT COUNT(*) FROM mcp_sessions WHERE hash = $1`, []byte("a-name-of-a-session")))(t)
			testkit.Equal(t, n, int64(0))
		})
		t.Run("expired rows go, and no others", func(t *testing.T) {
			testkit.Equal(t, testkit.Must(s.Expire(t.Context()))(t), int64(0))
			testkit.Must0(t, s.Change(t.Context(), "later", until.Add(time.Hour), func(n *notes.Note) { n.Level = "info" }))
			now = until
			if n := testkit.Must(s.Expire(t.Context()))(t); n != 5 {
				t.Errorf("%d rows went", n)
			}
			testkit.Equal(t, read("a"), notes.Note{})
			testkit.Equal(t, read("later").Level, "info")
		})
	})
}
