package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A call that is forbidden outside the places named, and what to do instead.
var forbidden = []struct {
	call    string
	allowed []string // directories below internal, or files
	instead string
}{
	{"net.Dial", []string{"netguard", "testkit", "sandbox"}, "connect through netguard: it checks the address"},
	{"net.DialTimeout", []string{"netguard", "testkit", "sandbox"}, "connect through netguard: it checks the address"},
	{"http.Get", []string{"testkit"}, "use netguard's HTTPClient"},
	{"http.Post", []string{"testkit"}, "use netguard's HTTPClient"},
	{"http.DefaultClient", []string{"testkit"}, "use netguard's HTTPClient"},
	{"os.Getenv", []string{"app", "cli", "settings", "testkit", "rest/resttest", "sandbox"}, "settings come as arguments; only app and cli read the environment"},
	{"huma.Error400BadRequest", nil, "return a fault; the door writes its form"},
	{"huma.Error404NotFound", nil, "return a fault; the door writes its form"},
	{"huma.Error422UnprocessableEntity", nil, "return a fault; the door writes its form"},
	{"math/rand", []string{"testkit", "upstream", "jobs", "sandbox"}, "crypto/rand for whatever must not be guessed"},
}

// TestForbidden reads every file of ours that is no test.
func TestForbidden(t *testing.T) {
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "zdeps") || strings.Contains(path, "testdata/") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		var uses []string
		for _, imp := range file.Imports {
			uses = append(uses, strings.Trim(imp.Path.Value, `"`))
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if pkg, ok := sel.X.(*ast.Ident); ok {
					uses = append(uses, pkg.Name+"."+sel.Sel.Name)
				}
			}
			return true
		})
		for _, f := range forbidden {
			here := slices.ContainsFunc(f.allowed, func(dir string) bool { return strings.HasPrefix(path, dir+"/") || path == dir })
			if !here && slices.Contains(uses, f.call) {
				t.Errorf("%s uses %s: %s", path, f.call, f.instead)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
