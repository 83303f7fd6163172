package launch_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	shipped "headgate/catalog"
	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/launch"
	"headgate/internal/testkit"
)

func TestShippedEntriesMustBeRight(t *testing.T) {
	file := func(name string) []byte { return testkit.Must(shipped.Files.ReadFile(name))(t) }
	good, lock := file("memory.yaml"), file("locks/memory.json")
	for _, c := range []struct {
		name  string
		files fstest.MapFS
	}{
		{"without a lock file", fstest.MapFS{"memory.yaml": {Data: good}}},
		{"with another package's hash", fstest.MapFS{"memory.yaml": {Data: good}, "locks/memory.json": {Data: []byte(strings.Replace(string(lock), "ljj/3S4aGj", "xjj/3S4aGj", 1))}}},
		{"with a package that has no hash", fstest.MapFS{"memory.yaml": {Data: good}, "locks/memory.json": {Data: []byte(strings.Replace(string(lock), `"integrity": "sha512-Sk4NQ`, `"other": "sha512-Sk4NQ`, 1))}}},
		{"with a package from elsewhere", fstest.MapFS{"memory.yaml": {Data: good}, "locks/memory.json": {Data: []byte(strings.Replace(string(lock), `"version": "2.1.9",`, `"version": "2.1.9", "resolved": "git+ssh://git@example.com/x.git",`, 1))}}},
		{"under another name", fstest.MapFS{"other.yaml": {Data: good}, "locks/memory.json": {Data: lock}}},
	} {
		t.Run(c.name+" is refused", func(t *testing.T) {
			s := testkit.Must(launch.New(launch.Options{Data: t.TempDir(), Shipped: c.files}))(t)
			if _, err := s.Get(t.Context(), &access.Principal{Kind: access.OperatorKey}, "memory"); err == nil || strings.Contains(err.Error(), "nil pointer") {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSweep(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t))
	ctx := t.Context()
	kept, gone := h.offered(t, []byte(grep)), h.offered(t, []byte(strings.Replace(grep, "name: grep", "name: other", 1)))
	keeps, goes := testkit.Must(h.spec(t, kept))(t).WorkDir, testkit.Must(h.spec(t, gone))(t).WorkDir
	trial := filepath.Join(h.data, "stdio", "trial-1")
	testkit.Must0(t, os.MkdirAll(trial, 0o700))
	testkit.Must0(t, h.catalog.DeleteServer(ctx, h.tenant, gone.ID))
	exists := func(dir string) bool { _, err := os.Stat(dir); return err == nil }
	testkit.Must0(t, h.Sweep(ctx))
	if !exists(keeps) || !exists(goes) || !exists(trial) {
		t.Fatal("something fresh was removed")
	}
	past := time.Now().Add(-2 * time.Hour)
	for _, dir := range []string{filepath.Dir(keeps), filepath.Dir(goes), trial} {
		testkit.Must0(t, os.Chtimes(dir, past, past))
	}
	testkit.Must0(t, h.Sweep(ctx))
	if !exists(keeps) || exists(goes) || exists(trial) {
		t.Errorf("kept %t, gone %t, trial %t", exists(keeps), exists(goes), exists(trial))
	}
}

func TestInstall(t *testing.T) {
	if testing.Short() {
		t.Skip("installs from npm")
	}
	testkit.Node(t)
	h := newHouse(t, testkit.SQLite(t))
	ctx := t.Context()
	o := testkit.Must(h.Enable(ctx, h.operator, "filesystem", nil))(t)
	d := testkit.Must(h.catalog.CreateServer(ctx, h.tenant, catalog.ServerInput{Service: o.Service.ID, ServiceInput: catalog.ServiceInput{Slug: "files"}}))(t)
	spec := testkit.Must(h.spec(t, d))(t)
	dir := filepath.Join(h.data, "catalog", "filesystem@2026.8.31")
	t.Run("enabling installs the package, and a server starts its program", func(t *testing.T) {
		if !o.Installed || o.Outdated || spec.Argv[1] != filepath.Join(dir, "node_modules/@modelcontextprotocol/server-filesystem/dist/index.js") || spec.Argv[2] != "/private/files" || !slices.Contains(spec.ReadOnly, dir) {
			t.Errorf("%+v %+v", o, spec)
		}
		if _, err := os.Stat(spec.Argv[1]); err != nil {
			t.Error(err)
		}
	})
	t.Run("everybody may read it, nobody but us write it", func(t *testing.T) {
		testkit.Must0(t, filepath.WalkDir(dir, func(name string, e os.DirEntry, err error) error {
			if err != nil || e.Type()&os.ModeSymlink != 0 {
				return err
			}
			info := testkit.Must(e.Info())(t)
			if m := info.Mode().Perm(); m != 0o644 && m != 0o755 {
				t.Errorf("%s is %v", name, m)
			}
			return nil
		}))
	})
	t.Run("an installation of another lock file is not started", func(t *testing.T) {
		testkit.Must0(t, os.WriteFile(filepath.Join(dir, ".headgate-lock"), []byte("another"), 0o644))
		_, err := h.spec(t, d)
		testkit.Fault(t, err, "launch.not_installed")
	})
	t.Run("enabling it again puts it right", func(t *testing.T) {
		testkit.Must(h.Enable(ctx, h.operator, "filesystem", nil))(t)
		testkit.Must(h.spec(t, d))(t)
	})
	t.Run("a changed tarball is not installed", func(t *testing.T) {
		yaml, lock := testkit.Must(shipped.Files.ReadFile("memory.yaml"))(t), testkit.Must(shipped.Files.ReadFile("locks/memory.json"))(t)
		forge := strings.NewReplacer("sha512-ljj/", "sha512-xjj/") // what a changed package would not have
		files := fstest.MapFS{"memory.yaml": {Data: []byte(forge.Replace(string(yaml)))}, "locks/memory.json": {Data: []byte(forge.Replace(string(lock)))}}
		s := testkit.Must(launch.New(launch.Options{Store: h.store, Catalog: h.catalog, Data: h.data, Shipped: files, Now: time.Now, Log: slog.New(slog.DiscardHandler)}))(t)
		_, err := s.Enable(ctx, h.operator, "memory", nil)
		testkit.Fault(t, err, "launch.integrity")
		if _, err := os.Stat(filepath.Join(h.data, "catalog", "memory@2026.8.31")); err == nil {
			t.Error("installed")
		}
	})
}
