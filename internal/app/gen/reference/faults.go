package reference

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"headgate/internal/fault"
)

// Fault is one declared fault.
type Fault struct {
	Kind    fault.Kind
	Code    string
	Message string
}

// kinds are fault's constants by name.
var kinds = map[string]fault.Kind{
	"Internal": fault.Internal, "BadCredential": fault.BadCredential, "UpstreamAuth": fault.UpstreamAuth,
	"Forbidden": fault.Forbidden, "NotFound": fault.NotFound, "Invalid": fault.Invalid, "Unconfigured": fault.Unconfigured,
	"Conflict": fault.Conflict, "Gone": fault.Gone, "Unpaid": fault.Unpaid, "Unsupported": fault.Unsupported,
	"Throttled": fault.Throttled, "Upstream": fault.Upstream, "Timeout": fault.Timeout, "Unavailable": fault.Unavailable,
	"Method": fault.Method, "Precondition": fault.Precondition, "TooLarge": fault.TooLarge, "MediaType": fault.MediaType,
}

// Faults reads every fault.New call below dir. Kind, code and message must be
// written out there, and no code may be declared twice.
func Faults(dir string) ([]Fault, error) {
	var list []Fault
	places := map[string]token.Position{}
	files := token.NewFileSet()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "testdata":
			return filepath.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for call := range newCalls(file) {
			f, err := read(call)
			if err != nil {
				return fmt.Errorf("%s: %w", files.Position(call.Pos()), err)
			}
			if other, ok := places[f.Code]; ok {
				return fmt.Errorf("%s: the code %s is declared at %s too", files.Position(call.Pos()), f.Code, other)
			}
			places[f.Code] = files.Position(call.Pos())
			list = append(list, f)
		}
		return nil
	})
	slices.SortFunc(list, func(a, b Fault) int { return cmp.Compare(a.Code, b.Code) })
	return list, err
}

// newCalls yields the calls of fault.New in a file.
func newCalls(file *ast.File) func(func(*ast.CallExpr) bool) {
	return func(yield func(*ast.CallExpr) bool) {
		more := true
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if ok && more && isSelector(call.Fun, "fault", "New") {
				more = yield(call)
			}
			return more
		})
	}
}

func isSelector(e ast.Expr, pkg, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok || s.Sel.Name != name {
		return false
	}
	x, ok := s.X.(*ast.Ident)
	return ok && x.Name == pkg
}

func read(call *ast.CallExpr) (f Fault, err error) {
	if len(call.Args) != 3 {
		return f, fmt.Errorf("fault.New takes a kind, a code and a message")
	}
	kind, ok := call.Args[0].(*ast.SelectorExpr)
	if !ok {
		return f, fmt.Errorf("the kind of a fault must be one of fault's constants")
	}
	if f.Kind, ok = kinds[kind.Sel.Name]; !ok {
		return f, fmt.Errorf("the reference does not know the kind %s", kind.Sel.Name)
	}
	if f.Code, err = text(call.Args[1]); err != nil {
		return f, fmt.Errorf("the code of a fault must be written out: %w", err)
	}
	if f.Message, err = text(call.Args[2]); err != nil {
		return f, fmt.Errorf("the message of a fault must be written out: %w", err)
	}
	return f, nil
}

// text reads a string literal, or several joined by +.
func text(e ast.Expr) (string, error) {
	switch e := e.(type) {
	case *ast.BasicLit:
		return strconv.Unquote(e.Value)
	case *ast.BinaryExpr:
		left, err := text(e.X)
		if err != nil {
			return "", err
		}
		right, err := text(e.Y)
		return left + right, err
	}
	return "", fmt.Errorf("it is no literal")
}

// Words says how a door words a fault.
type Words interface {
	Answer(*fault.Error) (status int, body any)
	Code(*fault.Error) string
}

// Errors writes the page of all faults, with the Platform API's words.
func Errors(list []Fault, platform Words) []byte {
	var b strings.Builder
	b.WriteString(Note + `# Errors

A failure on the Platform API is ` + "`{success: false, error: {code, message, details}}`" + `: the code is
one of the words below and is what programs decide on; the message says what
happened, why, and what to do next, and may change; details is an object. Every
answer has an ` + "`X-Request-Id`" + `. 429 and 503 have ` + "`Retry-After`" + `. The codes on the
left are Headgate's own names: they stand in its log and select the message.

| Own code | Status | Platform API | Message |
| --- | --: | --- | --- |
`)
	for _, f := range list {
		e := &fault.Error{Kind: f.Kind, Code: f.Code, Message: f.Message}
		status, _ := platform.Answer(e)
		fmt.Fprintf(&b, "| `%s` | %d | `%s` | %s |\n", f.Code, status, platform.Code(e), strings.ReplaceAll(f.Message, "|", `\|`))
	}
	return []byte(b.String())
}
