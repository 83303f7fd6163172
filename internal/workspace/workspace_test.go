package workspace_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/testkit"
	"headgate/internal/workspace"
)

type world struct {
	*workspace.Service
	t     *testing.T
	store *db.Store
	admin *access.Principal
}

func each(t *testing.T, test func(t *testing.T, w *world)) {
	testkit.EachEngine(t, func(t *testing.T, s *db.Store) {
		w := &world{Service: workspace.New(s, time.Now), t: t, store: s}
		w.exec(`INSERT INTO tenants (id, slug, name, created_at) VALUES ('ten_1', 't', 'T', 0)`)
		w.exec(`INSERT INTO plans (id, slug, name, rate_per_minute, burst, monthly_credits, features, created_at) VALUES ('plan_1', 'p', 'P', 1, 1, 0, '{}', 0)`)
		w.admin = w.organization()
		test(t, w)
	})
}

func (w *world) organization() *access.Principal {
	org := id.New("org")
	w.exec(`INSERT INTO organizations (id, tenant_id, slug, name, home, plan_id, body_policy, created_at) VALUES ($1, 'ten_1', $1, 'O', FALSE, 'plan_1', 'full', 0)`, org)
	return &access.Principal{Kind: access.Session, Tenant: "ten_1", Organization: org, Role: access.Admin, Scopes: access.Every}
}

func (w *world) exec(text string, args ...any) {
	w.t.Helper()
	testkit.Must(db.Exec(context.Background(), w.store, text, args...))(w.t)
}

func (w *world) create(by *access.Principal, spec workspace.Spec) (ws workspace.Workspace, err error) {
	if spec.Organization == "" {
		spec.Organization = by.Organization
	}
	err = w.store.Tx(context.Background(), func(tx *db.Tx) error {
		ws, err = w.Create(context.Background(), tx, by, spec)
		return err
	})
	return ws, err
}

func TestCreate(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		made := testkit.Must(w.create(&access.Principal{Kind: access.System}, workspace.Spec{Organization: w.admin.Organization, Name: "Default", Default: true}))(t)
		t.Run("the default one is found by slug, by both forms of its id, and as the default", func(t *testing.T) {
			for _, ref := range []string{"default", made.ID, id.UUID(made.ID)} {
				testkit.Equal(t, testkit.Must(w.Get(t.Context(), w.admin.Organization, ref))(t), made)
			}
			testkit.Equal(t, testkit.Must(w.Default(t.Context(), w.admin.Organization))(t), made)
		})
		t.Run("there is one default", func(t *testing.T) {
			_, err := w.create(w.admin, workspace.Spec{Name: "Other", Default: true})
			testkit.Fault(t, err, "workspace.default")
		})
		t.Run("a taken name gets a number, a taken slug is refused", func(t *testing.T) {
			for _, want := range [][2]string{{"Team Ä/B", "team-b"}, {"Team Ä/B (2)", "team-b-2"}, {"Team Ä/B (3)", "team-b-3"}} {
				got := testkit.Must(w.create(w.admin, workspace.Spec{Name: "Team Ä/B"}))(t)
				testkit.Equal(t, [2]string{got.Name, got.Slug}, want)
			}
			got := testkit.Must(w.create(w.admin, workspace.Spec{Name: "team b"}))(t)
			testkit.Equal(t, [2]string{got.Name, got.Slug}, [2]string{"team b (4)", "team-b-4"})
			got = testkit.Must(w.create(w.admin, workspace.Spec{Name: "Team Ä/B", Slug: "own"}))(t)
			testkit.Equal(t, [2]string{got.Name, got.Slug}, [2]string{"Team Ä/B (4)", "own"})
			_, err := w.create(w.admin, workspace.Spec{Name: "X", Slug: "own"})
			testkit.Fault(t, err, "workspace.slug_taken")
		})
		t.Run("names without a letter and names too long have slugs all the same", func(t *testing.T) {
			for range 3 {
				for _, name := range []string{"日本", strings.Repeat("long ", 20), strings.Repeat("ä", 100)} {
					if got := testkit.Must(w.create(w.admin, workspace.Spec{Name: name}))(t); !workspace.ValidSlug(got.Slug) {
						t.Errorf("%q became %q", name, got.Slug)
					}
				}
			}
		})
		t.Run("parallel creators get different names", func(t *testing.T) {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if _, err := w.create(w.admin, workspace.Spec{Name: "Same"}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			testkit.Must(w.Get(t.Context(), w.admin.Organization, "same-8"))(t)
		})
		t.Run("a rollback leaves nothing", func(t *testing.T) {
			_ = w.store.Tx(t.Context(), func(tx *db.Tx) error {
				testkit.Must(w.Create(t.Context(), tx, w.admin, workspace.Spec{Organization: w.admin.Organization, Name: "Ghost"}))(t)
				return errors.New("no")
			})
			_, err := w.Get(t.Context(), w.admin.Organization, "ghost")
			testkit.Fault(t, err, "workspace.not_found")
		})
		t.Run("bad input is refused", func(t *testing.T) {
			for _, c := range []struct{ name, slug, code string }{
				{"", "", "workspace.name"}, {" ", "", "workspace.name"}, {"a\nb", "", "workspace.name"}, {strings.Repeat("x", 101), "", "workspace.name"},
				{"x", "-a", "workspace.slug"}, {"x", "A", "workspace.slug"}, {"x", "a_b", "workspace.slug"}, {"x", "../x", "workspace.slug"}, {"x", strings.Repeat("a", 33), "workspace.slug"},
			} {
				_, err := w.create(w.admin, workspace.Spec{Name: c.name, Slug: c.slug})
				testkit.Fault(t, err, c.code)
			}
		})
		t.Run("only who may administer this organization", func(t *testing.T) {
			member := *w.admin
			member.Role = access.Member
			_, err := w.create(&member, workspace.Spec{Name: "x"})
			testkit.Fault(t, err, "access.denied")
			for _, by := range []*access.Principal{nil, w.organization()} {
				_, err = w.create(by, workspace.Spec{Organization: w.admin.Organization, Name: "x"})
				testkit.Fault(t, err, "workspace.not_found")
			}
		})
	})
}

func TestMemory(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		org := w.admin.Organization
		testkit.Must(w.create(w.admin, workspace.Spec{Name: "One", Default: true}))(t)
		testkit.Must(w.List(t.Context(), org))(t)
		t.Run("reading again costs no query", func(t *testing.T) {
			before := w.store.Queries()
			testkit.Must(w.Get(t.Context(), org, "one"))(t)
			testkit.Must(w.Default(t.Context(), org))(t)
			testkit.Equal(t, w.store.Queries(), before)
		})
		t.Run("what a caller does to a list is the caller's", func(t *testing.T) {
			testkit.Must(w.List(t.Context(), org))(t)[0].Name = "Broken"
			testkit.Equal(t, testkit.Must(w.List(t.Context(), org))(t)[0].Name, "One")
		})
		t.Run("a committed change is seen at once, under parallel reading", func(t *testing.T) {
			stop := make(chan struct{})
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							if _, err := w.List(t.Context(), org); err != nil {
								t.Error(err)
							}
						}
					}
				})
			}
			for i := range 30 {
				ws := testkit.Must(w.create(w.admin, workspace.Spec{Name: fmt.Sprint("n", i)}))(t)
				testkit.Must(w.Get(t.Context(), org, ws.Slug))(t)
			}
			close(stop)
			wg.Wait()
		})
		t.Run("another organization sees none of it", func(t *testing.T) {
			other := w.organization()
			one := testkit.Must(w.Get(t.Context(), org, "one"))(t)
			for _, ref := range []string{"one", one.ID, id.New("ws"), "ws_x", ""} {
				_, err := w.Get(t.Context(), other.Organization, ref)
				testkit.Fault(t, err, "workspace.not_found")
			}
			_, err := w.Default(t.Context(), other.Organization)
			testkit.Fault(t, err, "workspace.not_found")
			_, err = w.Pause(t.Context(), other, org, one.ID, "")
			testkit.Fault(t, err, "workspace.not_found")
		})
	})
}
