package internal_test

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestFigures holds the figures of the guides to those of the code: each row of
// the page about limits is written anew from the code's own constants and must
// be what the page says, and a row that nothing vouches for fails.
func TestFigures(t *testing.T) {
	f := figures{t: t, trees: map[string][]*ast.File{}}
	rate := func(dir, name string) string {
		return fmt.Sprintf("%s a minute, %s at once", number(f.field(dir, name, "PerMinute")), number(f.field(dir, name, "Burst")))
	}
	addresses := rate("rest/diagnostics", "guests")
	if other := fmt.Sprintf("%s a minute, %s at once", number(f.literals("rest/meter", "quota.Limit", "PerMinute")[0]), number(f.literals("rest/meter", "quota.Limit", "Burst")[0])); other != addresses {
		t.Errorf("addresses have two rates: %s and %s", addresses, other)
	}
	plan := func(slug int, name string) string { return number(f.literals("tenancy", "seeds", name)[slug]) }
	calls := f.same(f.constant("gateway", "maxBody"), f.constant("server/lane", "maxBody"))
	for _, dir := range []string{"rest/platform", "rest/diagnostics"} {
		for _, own := range f.literals(dir, "rest.Op", "MaxBody") {
			calls = f.same(calls, own)
		}
	}
	limits := map[string]string{
		"Diagnostics API, each key and each session":      rate("rest/diagnostics", "rate"),
		"Diagnostics API, a service that acts for people": rate("rest/diagnostics", "actingRate"),
		"any door, requests without a known credential":   addresses + ", for each address",
		"Platform API and Gateway, each credential": fmt.Sprintf("its organization's plan: %s and %s on `free`, %s and %s on `pro`",
			plan(0, "RatePerMinute"), plan(0, "Burst"), plan(1, "RatePerMinute"), plan(1, "Burst")),
		"Platform API, an operator's key": fmt.Sprintf("%s a minute, %s at once", number(f.literals("rest/meter", "quota.Limit", "PerMinute")[1]), number(f.literals("rest/meter", "quota.Limit", "Burst")[1])),
		"calls of an organization":        fmt.Sprintf("its plan's a day: %s on `free`, %s on `pro`", plan(0, "RequestsPerDay"), plan(1, "RequestsPerDay")),
		"body of a request":               fmt.Sprintf("%s; %s for calls, imports and bundles", bytesOf(f.assigned("rest", "cfg.MaxBody")), bytesOf(calls)),
		"nesting of JSON in a request":    number(f.same(f.constant("rest", "maxDepth"), f.constant("mcp", "DefaultDepth"))) + " levels",
		"a credential":                    number(f.same(f.constant("rest", "maxCredential"), f.constant("identity", "maxToken"))) + " bytes",

		"`validate`":                   seconds(f.constant("diagnosis", "patience")),
		"one exchange of a diagnosis":  seconds(f.constant("diagnosis", "patience")),
		"a whole diagnosis":            seconds(f.constant("diagnosis", "runTime")),
		"at once, of an installation":  number(f.constant("diagnosis", "parallel")) + "; more wait for their turn",
		"a tool called in a diagnosis": seconds(f.constant("diagnosis", "patience") * f.constant("diagnosis/checkup", "callPatience")),
		"read of one answer":           bytesOf(f.constant("diagnosis/checkup", "maxBody")),
		"read of a list": fmt.Sprintf("%s entries, %s pages; %s for the four lists together", number(f.constant("diagnosis/checkup", "MaxItems")),
			number(f.constant("diagnosis/checkup", "maxPages")), bytesOf(f.constant("diagnosis/checkup", "MaxLists"))),
		"schemas judged": fmt.Sprintf("%s, each of %s and %s levels at most", number(f.constant("diagnosis/checkup", "maxSchemasRead")),
			bytesOf(f.constant("diagnosis/checkup", "largestSchema")), number(f.constant("diagnosis/checkup", "deepestSchema"))),
		"findings":                    fmt.Sprintf("%s, with %s subjects each", number(f.constant("diagnosis/report", "maxFindings")), word(f.constant("diagnosis/report", "maxSubjects"))),
		"headers sent along to a URL": number(f.same(f.constant("diagnosis", "maxLocalHeaders"), f.tag("rest/diagnostics", "doctorURLBody", "Headers", "maxProperties"))),
		"reports kept": fmt.Sprintf("%s of each server and kind, for %s, %s each", number(f.constant("diagnosis", "kept")),
			days(f.constant("diagnosis", "keptFor")), bytesOf(f.constant("diagnosis", "maxStored"))),
		"schedules":                            fmt.Sprintf("%s of an organization, each at most once in %s minutes", number(f.constant("diagnosis", "maxSchedules")), word(f.constant("diagnosis", "closest")/int64(time.Minute))),
		"a call or a prompt through this door": seconds(f.constant("rest/diagnostics", "callTime")) + ", or the server's own time when that is less",
		"a page of a list":                     number(f.constant("rest/diagnostics", "pageSize")) + " entries",

		"name of a key": number(f.constant("apikey", "maxName")) + " characters",
		"live keys": fmt.Sprintf("%s of each kind that a person or an organization has, %s of a workspace",
			number(f.same(f.same(f.entry("apikey", "live", "PersonalKey"), f.entry("apikey", "live", "DiagnosticsKey")), f.entry("apikey", "live", "OrganizationKey"))), number(f.entry("apikey", "live", "WorkspaceKey"))),
		"organization keys made":              word(f.constant("apikey", "maxMints")) + " an hour",
		"headers of a server":                 number(f.same(f.constant("catalog", "maxHeaders"), f.tag("rest/diagnostics", "createServerBody", "Headers", "maxProperties"))),
		"time a call may take":                "as its workspace's tier says: [operating](operate.md)",
		"body of a call that is logged":       bytesOf(f.constant("activity", "BodyCap")) + " of each side",
		"name of a tool on a merged endpoint": number(f.constant("mcp", "MaxName")) + " characters; longer ones are shortened, always alike",
		"live sessions of a user":             number(f.constant("identity", "maxSessions")) + "; a new one ends the one used longest ago",
	}
	row := regexp.MustCompile(`(?m)^\| (.+?) \| (.+) \|$`)
	for _, found := range row.FindAllStringSubmatch(f.page("limits.md"), -1) {
		label, says := found[1], found[2]
		want, ok := limits[label]
		delete(limits, label)
		if label == "---" {
			continue
		}
		if !ok {
			t.Errorf("limits.md: nothing vouches for %q; add it to this test", label)
		} else if says != want {
			t.Errorf("limits.md: %s\n\tsays  %s\n\tcode  %s", label, says, want)
		}
	}
	for label, want := range limits {
		t.Errorf("limits.md lacks the row: %s | %s", label, want)
	}

	for page, phrases := range map[string][]string{
		"keys.md": {
			"a token of " + number(f.constant("identity", "accessLife")/int64(time.Minute)) + " minutes",
			word(f.constant("apikey", "maxMints")) + " an hour |",
			fmt.Sprintf("its first %s and last %s characters", word(f.constant("apikey", "shownChars")), word(f.constant("apikey", "shownAtEnd"))),
			"when it was used last (to the " + map[int64]string{int64(time.Minute): "minute"}[f.constant("apikey", "flushEvery")] + ")",
		},
		"versioning.md": {
			fmt.Sprintf("MCP revisions from %s to %s are spoken", f.text("mcp", "Revision20241105"), f.text("mcp", "Revision20260728")),
		},
		"diagnostics.md": {
			fmt.Sprintf("Each server's last %s reports of a kind are kept, for %s.", number(f.constant("diagnosis", "kept")), days(f.constant("diagnosis", "keptFor"))),
			fmt.Sprintf("Lists come in pages of %s", number(f.constant("rest/diagnostics", "pageSize"))),
		},
	} {
		for _, phrase := range phrases {
			if !strings.Contains(f.page(page), phrase) {
				t.Errorf("%s does not say: %s", page, phrase)
			}
		}
	}
	if f.text("mcp", "LatestModern") != f.text("mcp", "Revision20260728") {
		t.Error("versioning.md names another newest revision than the code")
	}
}

// figures reads constants from source, exported or not.
type figures struct {
	t     *testing.T
	trees map[string][]*ast.File
}

func (f *figures) page(name string) string {
	f.t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", "guides", name))
	if err != nil {
		f.t.Fatal(err)
	}
	return string(text)
}

// each calls a function for every node of a package that is no test.
func (f *figures) each(dir string, visit func(ast.Node)) {
	f.t.Helper()
	files, ok := f.trees[dir]
	if !ok {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(names) == 0 {
			f.t.Fatalf("no package %s", dir)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				f.t.Fatal(err)
			}
			files = append(files, file)
		}
		f.trees[dir] = files
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if n != nil {
				visit(n)
			}
			return true
		})
	}
}

// declared finds the value of a package's constant or variable.
func (f *figures) declared(dir, name string) (value ast.Expr) {
	f.t.Helper()
	f.each(dir, func(n ast.Node) {
		if spec, ok := n.(*ast.ValueSpec); ok {
			for i, id := range spec.Names {
				if id.Name == name && i < len(spec.Values) {
					value = spec.Values[i]
				}
			}
		}
	})
	if value == nil {
		f.t.Fatalf("%s has no %s", dir, name)
	}
	return value
}

// unit is how the code writes durations.
var unit = strings.NewReplacer("time.Millisecond", "1000000", "time.Second", "1000000000", "time.Minute", "60000000000", "time.Hour", "3600000000000")

func (f *figures) eval(e ast.Expr) constant.Value {
	f.t.Helper()
	v, err := types.Eval(token.NewFileSet(), nil, token.NoPos, unit.Replace(types.ExprString(e)))
	if err != nil || v.Value == nil {
		f.t.Fatalf("%s is no constant: %v", types.ExprString(e), err)
	}
	return v.Value
}

func (f *figures) whole(e ast.Expr) int64 {
	f.t.Helper()
	n, ok := constant.Int64Val(constant.ToInt(f.eval(e)))
	if !ok {
		f.t.Fatalf("%s is no whole number", types.ExprString(e))
	}
	return n
}

func (f *figures) constant(dir, name string) int64 {
	f.t.Helper()
	return f.whole(f.declared(dir, name))
}

func (f *figures) text(dir, name string) string {
	f.t.Helper()
	value := f.declared(dir, name)
	if other, ok := value.(*ast.Ident); ok {
		return f.text(dir, other.Name)
	}
	return constant.StringVal(f.eval(value))
}

// field is a member of a variable's literal.
func (f *figures) field(dir, name, key string) int64 {
	f.t.Helper()
	return f.members(f.declared(dir, name), key)[0]
}

// entry is a value of a map, by the last part of its key.
func (f *figures) entry(dir, name, key string) int64 {
	f.t.Helper()
	for _, e := range f.declared(dir, name).(*ast.CompositeLit).Elts {
		if kv := e.(*ast.KeyValueExpr); strings.HasSuffix(types.ExprString(kv.Key), key) {
			return f.whole(kv.Value)
		}
	}
	f.t.Fatalf("%s.%s has no %s", dir, name, key)
	return 0
}

// literals are the members of one name in all literals of a type, or in those
// that a variable holds, in the order they are written.
func (f *figures) literals(dir, of, key string) (list []int64) {
	f.t.Helper()
	if !strings.Contains(of, ".") {
		return f.members(f.declared(dir, of), key)
	}
	f.each(dir, func(n ast.Node) {
		if lit, ok := n.(*ast.CompositeLit); ok && lit.Type != nil && types.ExprString(lit.Type) == of {
			for _, e := range lit.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok && types.ExprString(kv.Key) == key {
					if _, err := types.Eval(token.NewFileSet(), nil, token.NoPos, types.ExprString(kv.Value)); err == nil {
						list = append(list, f.whole(kv.Value))
					}
				}
			}
		}
	})
	if len(list) == 0 {
		f.t.Fatalf("%s has no %s with %s", dir, of, key)
	}
	return list
}

func (f *figures) members(value ast.Expr, key string) (list []int64) {
	f.t.Helper()
	ast.Inspect(value, func(n ast.Node) bool {
		if kv, ok := n.(*ast.KeyValueExpr); ok && types.ExprString(kv.Key) == key && types.ExprString(kv.Value) != "Unlimited" {
			list = append(list, f.whole(kv.Value))
		}
		return true
	})
	if len(list) == 0 {
		f.t.Fatalf("%s has no %s", types.ExprString(value), key)
	}
	return list
}

// assigned is what a default is set to.
func (f *figures) assigned(dir, name string) (n int64) {
	f.t.Helper()
	f.each(dir, func(node ast.Node) {
		if set, ok := node.(*ast.AssignStmt); ok && len(set.Lhs) == 1 && types.ExprString(set.Lhs[0]) == name {
			n = f.whole(set.Rhs[0])
		}
	})
	if n == 0 {
		f.t.Fatalf("%s does not set %s", dir, name)
	}
	return n
}

// tag is a bound in a field's tag.
func (f *figures) tag(dir, structure, field, key string) (n int64) {
	f.t.Helper()
	f.each(dir, func(node ast.Node) {
		spec, ok := node.(*ast.TypeSpec)
		if !ok || spec.Name.Name != structure {
			return
		}
		for _, m := range spec.Type.(*ast.StructType).Fields.List {
			if len(m.Names) == 1 && m.Names[0].Name == field && m.Tag != nil {
				n, _ = strconv.ParseInt(reflect.StructTag(strings.Trim(m.Tag.Value, "`")).Get(key), 10, 64)
			}
		}
	})
	if n == 0 {
		f.t.Fatalf("%s.%s.%s has no %s", dir, structure, field, key)
	}
	return n
}

// same says when two places that hold one figure differ.
func (f *figures) same(a, b int64) int64 {
	f.t.Helper()
	if a != b {
		f.t.Errorf("one figure, two values: %d and %d", a, b)
	}
	return a
}

// number writes thousands apart.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func word(n int64) string {
	words := map[int64]string{4: "four", 5: "five", 10: "ten", 12: "twelve"}
	if w, ok := words[n]; ok {
		return w
	}
	return number(n)
}

func bytesOf(n int64) string {
	if n >= 1<<20 && n%(1<<20) == 0 {
		return number(n>>20) + " MiB"
	}
	return number(n>>10) + " KiB"
}

func seconds(n int64) string { return number(n/int64(time.Second)) + " s" }

func days(n int64) string { return number(n/int64(24*time.Hour)) + " days" }
