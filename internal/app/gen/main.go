// Command gen writes what follows from the code: the Go client (client/) and
// the reference pages (docs/reference/). With -check it writes nothing and
// fails when a file is not what it would write.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"headgate/internal/app/gen/goclient"
	"headgate/internal/app/gen/reference"
	"headgate/internal/app/gen/spec"
	"headgate/internal/cli"
	"headgate/internal/rest"
	"headgate/internal/settings"
)

func main() {
	check := flag.Bool("check", false, "write nothing; fail when a file is stale")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	_ = os.Unsetenv("COLUMNS") // help is as wide as that says
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	files, err := generate(root)
	if err != nil {
		return err
	}
	if check {
		return compare(root, files)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, files[name], 0o644); err != nil {
			return err
		}
	}
	return nil
}

// moduleRoot is the directory of go.mod, at or above the working directory.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir, nil
		}
		if filepath.Dir(dir) == dir {
			err = errors.New("there is no go.mod here or above: run it inside the repository")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}

// generate returns every file by its path below the root.
func generate(root string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, d := range doors() {
		doc, err := read(d.door)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
		if files["docs/reference/"+d.name+".md"], err = reference.API(doc); err != nil {
			return nil, err
		}
		if d.client == "" {
			continue
		}
		sources, err := goclient.Generate(doc, d.door.Base()+"/openapi.json")
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
		for name, text := range sources {
			files[d.client+"/"+name] = text
		}
	}
	faults, err := reference.Faults(filepath.Join(root, "internal"))
	if err != nil {
		return nil, err
	}
	files["docs/reference/errors.md"] = reference.Errors(faults, doors()[0].door.Form())
	files["docs/reference/settings.md"] = reference.Settings(settings.All())
	files["docs/reference/cli.md"] = []byte(reference.Note + cli.Reference())
	return files, nil
}

// read turns a door's document into what the generators take.
func read(d *rest.Door) (*spec.Document, error) {
	if err := d.Check(); err != nil {
		return nil, err
	}
	text, err := d.Document()
	if err != nil {
		return nil, err
	}
	var order []string
	for _, o := range d.Operations() {
		order = append(order, o.ID)
	}
	return spec.Parse(text, order)
}

// compare reports files that are not what they should be, and generated ones
// that should not be.
func compare(root string, files map[string][]byte) error {
	var stale []string
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if text, err := os.ReadFile(filepath.Join(root, name)); err != nil || !bytes.Equal(text, files[name]) {
			stale = append(stale, name)
		}
	}
	left, err := filepath.Glob(filepath.Join(root, "docs/reference/*.md"))
	if err != nil {
		return err
	}
	for _, path := range left {
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if _, ok := files[filepath.ToSlash(name)]; ok {
			continue
		}
		if text, err := os.ReadFile(path); err != nil && !errors.Is(err, fs.ErrNotExist) || bytes.HasPrefix(text, []byte(reference.Note)) {
			stale = append(stale, name)
		}
	}
	if len(stale) > 0 {
		return fmt.Errorf("not what the code says: %s\nRun make gen and commit the result", strings.Join(stale, ", "))
	}
	return nil
}
