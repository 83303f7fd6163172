package workspace_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"headgate/internal/access"
	"headgate/internal/db"
	"headgate/internal/id"
	"headgate/internal/jobs"
	"headgate/internal/testkit"
	"headgate/internal/workspace"
)

// tree makes root > mid > leaf, all online.
func (w *world) tree(t *testing.T) (root, mid, leaf workspace.Workspace) {
	t.Helper()
	root = w.online(t, workspace.Spec{Name: "Root"})
	mid = w.online(t, workspace.Spec{Name: "Mid", Parent: root.Slug})
	leaf = w.online(t, workspace.Spec{Name: "Leaf", Parent: mid.ID})
	return root, mid, leaf
}

func (w *world) online(t *testing.T, spec workspace.Spec) workspace.Workspace {
	t.Helper()
	made := testkit.Must(w.create(w.admin, spec))(t)
	testkit.Must0(t, w.Ready(t.Context(), workspace.Start{Organization: made.Organization, Workspace: made.ID}))
	return testkit.Must(w.Get(t.Context(), made.Organization, made.ID))(t)
}

func (w *world) status(t *testing.T, of ...workspace.Workspace) (list []string) {
	t.Helper()
	for _, each := range of {
		got := testkit.Must(w.Get(t.Context(), each.Organization, each.ID))(t)
		list = append(list, string(got.Status))
	}
	return list
}

func TestProvision(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		org := w.admin.Organization
		t.Run("its start is a job that makes it online", func(t *testing.T) {
			runner := jobs.New(w.store, jobs.Options{})
			jobs.Handle(runner, w.Ready)
			got := testkit.Must(w.Provision(t.Context(), w.admin, workspace.Spec{Organization: org, Name: "One", Role: "research", Model: "m-1", Tier: 3, Runtime: workspace.External,
				Template: "t", Instructions: "Be brief.", Description: "d"}))(t)
			testkit.Equal(t, got.Status, workspace.Provisioning)
			testkit.Must(runner.Drain(t.Context()))(t)
			read := testkit.Must(w.Get(t.Context(), org, got.ID))(t)
			testkit.Equal(t, read.Status, workspace.Online)
			read.Status, read.UpdatedAt = got.Status, got.UpdatedAt
			testkit.Equal(t, read, got)
			testkit.Equal(t, testkit.Must(w.Instructions(t.Context(), got))(t), "Be brief.")
		})
		t.Run("a problem makes it failed, with the reason, and a restart tries again", func(t *testing.T) {
			problem := "The secret TOKEN is missing."
			w.OnStart(func(context.Context, workspace.Workspace) (string, error) { return problem, nil })
			made := w.online(t, workspace.Spec{Name: "Two"})
			testkit.Equal(t, [2]string{string(made.Status), made.Reason}, [2]string{"failed", problem})
			testkit.Fault(t, made.Usable(), "workspace.failed")
			problem = ""
			testkit.Must(w.restart(t, made))(t)
			testkit.Must0(t, w.Ready(t.Context(), workspace.Start{Organization: org, Workspace: made.ID}))
			testkit.Equal(t, w.status(t, made), []string{"online"})
		})
		t.Run("what cannot be is refused", func(t *testing.T) {
			for _, c := range []struct {
				spec workspace.Spec
				code string
			}{
				{workspace.Spec{Runtime: "kubernetes"}, "workspace.runtime"}, {workspace.Spec{Tier: 5}, "workspace.tier"}, {workspace.Spec{Tier: -1}, "workspace.tier"},
				{workspace.Spec{Parent: "nobody"}, "workspace.parent"}, {workspace.Spec{Parent: id.New("ws")}, "workspace.parent"},
				{workspace.Spec{Role: "a\x00"}, "workspace.text"}, {workspace.Spec{Instructions: string(make([]byte, 32<<10+1))}, "workspace.text"},
			} {
				c.spec.Name = "X"
				_, err := w.create(w.admin, c.spec)
				testkit.Fault(t, err, c.code)
			}
		})
		t.Run("eight levels and no deeper, and never in a circle", func(t *testing.T) {
			top := w.online(t, workspace.Spec{Name: "L1"})
			at := top
			for i := 2; i <= 8; i++ {
				at = w.online(t, workspace.Spec{Name: fmt.Sprint("L", i), Parent: at.ID})
			}
			_, err := w.create(w.admin, workspace.Spec{Name: "L9", Parent: at.ID})
			testkit.Fault(t, err, "workspace.parent")
			other := w.online(t, workspace.Spec{Name: "Other"})
			for _, parent := range []string{at.ID, top.ID} {
				_, err = w.Update(t.Context(), w.admin, org, top.ID, workspace.Change{Parent: &parent})
				testkit.Fault(t, err, "workspace.parent")
			}
			_, err = w.Update(t.Context(), w.admin, org, top.ID, workspace.Change{Parent: &other.ID})
			testkit.Fault(t, err, "workspace.parent") // nine levels
		})
	})
}

func (w *world) restart(t *testing.T, at workspace.Workspace) (workspace.Workspace, error) {
	got, _, err := w.Restart(t.Context(), w.admin, at.Organization, at.ID)
	return got, err
}

func TestPause(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		org := w.admin.Organization
		root, mid, leaf := w.tree(t)
		ready := func(t *testing.T, of ...workspace.Workspace) {
			for _, at := range of {
				testkit.Must0(t, w.Ready(t.Context(), workspace.Start{Organization: org, Workspace: at.ID}))
			}
		}
		t.Run("takes everything below along, and a resume brings it back", func(t *testing.T) {
			paused := testkit.Must(w.Pause(t.Context(), w.admin, org, root.Slug, "cleaning"))(t)
			testkit.Equal(t, len(paused), 3)
			testkit.Equal(t, w.status(t, root, mid, leaf), []string{"paused", "paused", "paused"})
			got := testkit.Must(w.Get(t.Context(), org, root.ID))(t)
			testkit.Equal(t, got.Reason, "cleaning")
			testkit.Fault(t, got.Usable(), "workspace.paused")
			testkit.Equal(t, len(testkit.Must(w.Resume(t.Context(), w.admin, org, root.ID))(t)), 3)
			testkit.Equal(t, w.status(t, root, mid, leaf), []string{"provisioning", "provisioning", "provisioning"})
			ready(t, root, mid, leaf)
			testkit.Equal(t, w.status(t, root, mid, leaf), []string{"online", "online", "online"})
		})
		t.Run("what was paused by itself stays so", func(t *testing.T) {
			testkit.Must(w.Pause(t.Context(), w.admin, org, leaf.ID, ""))(t)
			testkit.Equal(t, len(testkit.Must(w.Pause(t.Context(), w.admin, org, root.ID, ""))(t)), 2)
			testkit.Equal(t, len(testkit.Must(w.Resume(t.Context(), w.admin, org, root.ID))(t)), 2)
			ready(t, root, mid)
			testkit.Equal(t, w.status(t, root, mid, leaf), []string{"online", "online", "paused"})
			testkit.Must(w.Resume(t.Context(), w.admin, org, leaf.ID))(t)
			ready(t, leaf)
		})
		t.Run("a child cannot resume or restart under a paused parent", func(t *testing.T) {
			testkit.Must(w.Pause(t.Context(), w.admin, org, root.ID, ""))(t)
			_, err := w.Resume(t.Context(), w.admin, org, leaf.ID)
			testkit.Fault(t, err, "workspace.parent_paused")
			_, err = w.restart(t, root)
			testkit.Fault(t, err, "workspace.paused")
			late := w.online(t, workspace.Spec{Name: "Late", Parent: root.ID})
			_, err = w.restart(t, late)
			testkit.Fault(t, err, "workspace.parent_paused")
			testkit.Must(w.Resume(t.Context(), w.admin, org, root.ID))(t)
		})
		t.Run("twice is not there, and resuming what runs neither", func(t *testing.T) {
			_, err := w.Resume(t.Context(), w.admin, org, root.ID)
			testkit.Fault(t, err, "workspace.not_paused")
			testkit.Must(w.Pause(t.Context(), w.admin, org, root.ID, ""))(t)
			_, err = w.Pause(t.Context(), w.admin, org, root.ID, "")
			testkit.Fault(t, err, "workspace.paused_before")
			testkit.Must(w.Resume(t.Context(), w.admin, org, root.ID))(t)
		})
		t.Run("each step leaves an event", func(t *testing.T) {
			actions := testkit.Must(db.All(t.Context(), w.store, func(s *string) []any { return []any{s} }, `SELECT DISTINCT action FROM events WHERE target_id = $1 ORDER BY action`, root.ID))(t)
			testkit.Equal(t, actions, []string{"workspace.create", "workspace.online", "workspace.pause", "workspace.resume"})
		})
	})
}

func TestRestart(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		joined := 0
		w.OnRestart(func(context.Context, *db.Tx, workspace.Workspace) error { joined++; return nil })
		in, out := w.online(t, workspace.Spec{Name: "In"}), w.online(t, workspace.Spec{Name: "Out", Runtime: workspace.External})
		got := testkit.Must(w.restart(t, in))(t)
		testkit.Equal(t, got.Status, workspace.Provisioning)
		_, restarted, err := w.Restart(t.Context(), w.admin, out.Organization, out.ID)
		if err != nil || restarted || joined != 1 {
			t.Fatalf("restarted %v, error %v, %d joined", restarted, err, joined)
		}
		testkit.Equal(t, w.status(t, out), []string{"online"})
	})
}

func TestRemove(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		org := w.admin.Organization
		def := testkit.Must(w.create(w.admin, workspace.Spec{Name: "Default", Default: true}))(t)
		remove := func(t *testing.T, ref string, r workspace.Removal) ([]workspace.Workspace, error) {
			return w.Remove(t.Context(), w.admin, org, ref, r)
		}
		t.Run("only with its exact name, and with what is below only when that is confirmed", func(t *testing.T) {
			root, mid, leaf := w.tree(t)
			for _, name := range []string{"", "root", "Root "} {
				_, err := remove(t, root.ID, workspace.Removal{Name: name, Tree: true})
				testkit.Fault(t, err, "workspace.confirm_name")
			}
			_, err := remove(t, root.ID, workspace.Removal{Name: "Root"})
			testkit.Fault(t, err, "workspace.confirm_children")
			testkit.Equal(t, len(testkit.Must(remove(t, root.ID, workspace.Removal{Name: "Root", Tree: true}))(t)), 3)
			for _, at := range []workspace.Workspace{root, mid, leaf} {
				_, err := w.Get(t.Context(), org, at.ID)
				testkit.Fault(t, err, "workspace.gone")
				_, err = w.Get(t.Context(), org, at.Slug)
				testkit.Fault(t, err, "workspace.not_found")
				_, err = w.Pause(t.Context(), w.admin, org, at.ID, "")
				testkit.Fault(t, err, "workspace.gone")
				testkit.Equal(t, testkit.Must(w.Tombstone(t.Context(), org, at.ID))(t).Status, workspace.Removed)
			}
			w.online(t, workspace.Spec{Name: "Root", Slug: root.Slug}) // name and slug are free again
		})
		t.Run("the default one stays", func(t *testing.T) {
			_, err := remove(t, def.ID, workspace.Removal{Name: "Default"})
			testkit.Fault(t, err, "workspace.keep_default")
		})
		t.Run("erasing wipes what agents were told, purging leaves an empty tombstone", func(t *testing.T) {
			for _, r := range []workspace.Removal{{}, {Erase: true}, {Purge: true}} {
				at := w.online(t, workspace.Spec{Name: "Data", Instructions: "secret plan", Role: "r"})
				testkit.Must0(t, w.store.Tx(t.Context(), func(tx *db.Tx) error {
					return w.PutFiles(t.Context(), tx, w.admin, at, map[string]string{"notes/a.md": "x"})
				}))
				r.Name = at.Name
				testkit.Must(remove(t, at.ID, r))(t)
				left := testkit.Must(w.Tombstone(t.Context(), org, at.ID))(t)
				told, kept := testkit.Must(w.Instructions(t.Context(), at))(t), len(testkit.Must(w.Files(t.Context(), at))(t))
				switch {
				case r.Purge:
					testkit.Equal(t, []any{left.Name, left.Role, left.Status, told, kept}, []any{"purged", "", workspace.Purged, "", 0})
				case r.Erase:
					testkit.Equal(t, []any{left.Name, told, kept}, []any{"Data", "", 0})
				default:
					testkit.Equal(t, []any{left.Name, told, kept}, []any{"Data", "secret plan", 1})
				}
				_, err := w.Get(t.Context(), org, at.ID)
				testkit.Fault(t, err, "workspace.gone")
			}
		})
		t.Run("when what joins it fails, nothing is removed", func(t *testing.T) {
			at := w.online(t, workspace.Spec{Name: "Kept"})
			var fail atomic.Bool
			fail.Store(true)
			w.OnRemove(func(context.Context, *db.Tx, workspace.Workspace, workspace.Removal) error {
				if fail.Load() {
					return errors.New("no")
				}
				return nil
			})
			if _, err := remove(t, at.ID, workspace.Removal{Name: at.Name}); err == nil {
				t.Fatal("removed")
			}
			testkit.Equal(t, w.status(t, at), []string{"online"})
			fail.Store(false)
			var wg sync.WaitGroup
			var done atomic.Int64
			for range 4 {
				wg.Go(func() {
					if _, err := remove(t, at.ID, workspace.Removal{Name: at.Name}); err == nil {
						done.Add(1)
					} else if !errors.Is(err, workspace.ErrGone) {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			testkit.Equal(t, done.Load(), int64(1))
		})
		t.Run("another organization can do nothing to it", func(t *testing.T) {
			at, stranger := w.online(t, workspace.Spec{Name: "Ours"}), w.organization()
			for _, by := range []*access.Principal{nil, stranger} {
				_, err := w.Remove(t.Context(), by, org, at.ID, workspace.Removal{Name: at.Name})
				testkit.Fault(t, err, "workspace.not_found")
				_, _, err = w.Restart(t.Context(), by, org, at.ID)
				testkit.Fault(t, err, "workspace.not_found")
				_, err = w.SetBilling(t.Context(), by, org, at.ID, workspace.BYOK)
				testkit.Fault(t, err, "workspace.not_found")
			}
			_, err := w.Remove(t.Context(), stranger, stranger.Organization, at.ID, workspace.Removal{Name: at.Name})
			testkit.Fault(t, err, "workspace.not_found")
		})
	})
}

func TestUpdate(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		org := w.admin.Organization
		a, b := w.online(t, workspace.Spec{Name: "A"}), w.online(t, workspace.Spec{Name: "B"})
		name, tier, text := "Alpha", int64(4), "Do this."
		got := testkit.Must(w.Update(t.Context(), w.admin, org, a.ID, workspace.Change{Name: &name, Tier: &tier, Instructions: &text, Parent: &b.Slug}))(t)
		testkit.Equal(t, []any{got.Name, got.Tier, got.Parent, got.Slug}, []any{"Alpha", int64(4), b.ID, "a"})
		testkit.Equal(t, testkit.Must(w.Instructions(t.Context(), got))(t), text)
		read := testkit.Must(w.Get(t.Context(), org, a.ID))(t)
		testkit.Equal(t, read, got)
		_, err := w.Update(t.Context(), w.admin, org, b.ID, workspace.Change{Name: &name})
		testkit.Fault(t, err, "workspace.name_taken")
		_, err = w.Update(t.Context(), w.admin, org, b.ID, workspace.Change{Slug: &a.Slug})
		testkit.Fault(t, err, "workspace.slug_taken")
		tier = 9
		_, err = w.Update(t.Context(), w.admin, org, b.ID, workspace.Change{Tier: &tier})
		testkit.Fault(t, err, "workspace.tier")
	})
}

func TestBilling(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		org := w.admin.Organization
		at := w.online(t, workspace.Spec{Name: "A"})
		set := func(t *testing.T, ref string, m workspace.Mode) {
			t.Helper()
			testkit.Must(w.SetBilling(t.Context(), w.admin, org, ref, m))(t)
		}
		resolved := func(t *testing.T) [2]string {
			b := testkit.Must(w.Billing(t.Context(), org, at.ID))(t)
			return [2]string{string(b.Resolved), b.Source}
		}
		testkit.Equal(t, resolved(t), [2]string{"platform_managed", "platform_default"})
		set(t, "", workspace.BYOK)
		testkit.Equal(t, resolved(t), [2]string{"byok", "org_default"})
		set(t, at.Slug, workspace.NoModels)
		testkit.Equal(t, resolved(t), [2]string{"disabled", "workspace_override"})
		set(t, at.ID, "")
		set(t, "", "")
		testkit.Equal(t, resolved(t), [2]string{"platform_managed", "platform_default"})
		_, err := w.SetBilling(t.Context(), w.admin, org, "", "cheap")
		testkit.Fault(t, err, "workspace.billing_mode")
	})
}

func TestFiles(t *testing.T) {
	for _, path := range []string{"", ".", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", `a\b`, "c:x", "a\x00b", "a\nb", "./a", string(make([]byte, 201))} {
		if err := workspace.CheckFiles(map[string]string{path: "x"}); !errors.Is(err, workspace.ErrFiles) {
			t.Errorf("%q: %v", path, err)
		}
	}
	many := map[string]string{}
	for i := range 200 {
		many[fmt.Sprintf("f/%d.md", i)] = "x"
	}
	testkit.Must0(t, workspace.CheckFiles(many))
	many["one.md"] = "more"
	testkit.Fault(t, workspace.CheckFiles(many), "workspace.files")
	testkit.Fault(t, workspace.CheckFiles(map[string]string{"a": strings.Repeat("x", 1<<20)}), "workspace.files")
}
