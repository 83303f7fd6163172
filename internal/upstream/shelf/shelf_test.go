package shelf_test

import (
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
	"headgate/internal/upstream/shelf"
)

func TestShelf(t *testing.T) {
	testkit.EachEngine(t, func(t *testing.T, store *db.Store) {
		now := time.UnixMilli(1_000_000)
		s := shelf.New(store, func() time.Time { return now })
		server := &catalog.Server{Organization: "org_1", ID: "srv_1", Version: 3}
		put := func(server *catalog.Server, identity string, l upstream.Shelved) {
			t.Helper()
			testkit.Must0(t, s.Put(t.Context(), server, identity, l))
		}
		take := func(server *catalog.Server, identity string) []upstream.Shelved {
			t.Helper()
			return testkit.Must(s.Take(t.Context(), server, identity))(t)
		}
		tools := upstream.Shelved{Kind: upstream.Tools, Items: []byte(`[{"name":"a","n":9007199254740993}]`), Private: true}
		t.Run("a list is what was put last, with what it says of itself", func(t *testing.T) {
			put(server, "ann", upstream.Shelved{Kind: upstream.Tools})
			testkit.Equal(t, take(server, "ann"), []upstream.Shelved{{Kind: upstream.Tools}})
			put(server, "ann", tools)
			put(server, "ann", upstream.Shelved{Kind: upstream.Prompts, Items: []byte(`[]`)})
			testkit.Equal(t, take(server, "ann"), []upstream.Shelved{tools, {Kind: upstream.Prompts, Items: []byte(`[]`)}})
		})
		t.Run("other credentials, another version, server or organization have none", func(t *testing.T) {
			for _, other := range []*catalog.Server{{Organization: "org_1", ID: "srv_1", Version: 4}, {Organization: "org_1", ID: "srv_2", Version: 3}, {Organization: "org_2", ID: "srv_1", Version: 3}} {
				testkit.Equal(t, len(take(other, "ann")), 0)
			}
			testkit.Equal(t, len(take(server, "bob")), 0)
		})
		t.Run("no row holds the credentials' name", func(t *testing.T) {
			testkit.Equal(t, testkit.Must(db.Value[int64](t.Context(), store, `SELECT COUNT(*) FROM server_lists WHERE identity = $1`, []byte("ann")))(t), int64(0))
		})
		t.Run("what nobody asks for goes, and no more", func(t *testing.T) {
			put(server, "bob", tools)
			now = now.Add(10 * 24 * time.Hour)
			take(server, "ann")
			testkit.Equal(t, testkit.Must(s.Expire(t.Context()))(t), int64(0))
			now = now.Add(5 * 24 * time.Hour)
			testkit.Equal(t, testkit.Must(s.Expire(t.Context()))(t), int64(1))
			testkit.Equal(t, []int{len(take(server, "ann")), len(take(server, "bob"))}, []int{2, 0})
		})
	})
}
