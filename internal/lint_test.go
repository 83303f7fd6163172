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

// What is forbidden outside the places named, and what to do instead. A name
// that ends in a star stands for all that begin so.
var forbidden = []struct {
	name    string
	allowed []string // directories below internal
	instead string
}{
	{"net.Dial*", []string{"netguard", "testkit", "sandbox"}, "connect through netguard: it checks the address"},
	{"http.Get", []string{"testkit"}, "use netguard's HTTPClient"},
	{"http.Post*", []string{"testkit"}, "use netguard's HTTPClient"},
	{"http.DefaultClient", []string{"testkit"}, "use netguard's HTTPClient"},
	{"http.DefaultTransport", []string{"testkit", "cli"}, "use netguard's HTTPClient; the CLI speaks to its user's own server"},
	{"InsecureSkipVerify", []string{"upstream/wire"}, "a certificate that is not trusted is an error; wire sets it to false"},
	{"os.Getenv", []string{"app", "cli", "settings", "testkit", "sandbox", "rest/resttest"}, "settings come as arguments; only app and cli read the environment"},
	{"huma.Error4*", nil, "return a fault; the door writes its form"},
	{"huma.Error5*", nil, "return a fault; the door writes its form"},
	{"math/rand*", []string{"testkit", "upstream", "jobs", "sandbox", "rest/resttest"}, "crypto/rand for whatever must not be guessed"},
	{"float64", []string{moneyless}, "credits and money are whole int64 numbers"},
	{"float32", []string{moneyless}, "credits and money are whole int64 numbers"},
}

// moneyless stands for all packages but those that count money.
const moneyless = "!credit budget call quota db"

// elsewhere reports whether a rule does not hold for a file.
func elsewhere(allowed []string, path string) bool {
	return slices.ContainsFunc(allowed, func(dir string) bool {
		if within, not := strings.CutPrefix(dir, "!"); not {
			top, _, _ := strings.Cut(path, "/")
			return !slices.Contains(strings.Fields(within), top)
		}
		return strings.HasPrefix(path, dir+"/")
	})
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
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if pkg, ok := n.X.(*ast.Ident); ok {
					uses = append(uses, pkg.Name+"."+n.Sel.Name)
				}
			case *ast.Ident:
				uses = append(uses, n.Name)
			}
			return true
		})
		for _, f := range forbidden {
			start, wild := strings.CutSuffix(f.name, "*")
			used := slices.ContainsFunc(uses, func(u string) bool { return u == f.name || wild && strings.HasPrefix(u, start) })
			if used && !elsewhere(f.allowed, path) {
				t.Errorf("%s uses %s: %s", path, f.name, f.instead)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestDoc: each package says in doc.go what it owns and promises.
func TestDoc(t *testing.T) {
	files, err := filepath.Glob("*/*.go")
	more, err2 := filepath.Glob("*/*/*.go")
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	for _, path := range append(files, more...) {
		dir := filepath.Dir(path)
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "zdeps") || strings.Contains(path, "testdata") {
			continue
		}
		doc, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, "doc.go"), nil, parser.ParseComments|parser.PackageClauseOnly)
		if err != nil || doc.Doc == nil {
			t.Errorf("%s has no doc.go with a package comment: %v", dir, err)
		}
	}
}
