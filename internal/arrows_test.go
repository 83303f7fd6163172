package internal_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows says which of our packages each package may import (tests aside).
// ARCHITECTURE.md explains the layers. A package without a row fails, and so
// does a row without a package.
var arrows = map[string]string{
	"fault": "", "id": "", "seal": "", "rawio": "", "db": "fault id", "journal": "", "mcp": "fault",
	"access":   "fault",
	"netguard": "fault",
	"jobs":     "db fault id",
	"sandbox":  "fault netguard sandbox/*", "sandbox/*": "fault netguard sandbox/*",

	"activity":         "access db fault id server/request",
	"tenancy":          "access activity db fault id seal tenancy/*",
	"tenancy/*":        "db fault",
	"identity":         "access activity db fault id seal tenancy tenancy/* identity/*",
	"identity/*":       "fault identity",
	"apikey":           "access activity db fault id identity quota seal tenancy tenancy/*",
	"workspace":        "access activity db fault id jobs tenancy tenancy/*",
	"vault":            "access activity db fault id seal workspace",
	"catalog":          "access activity db fault id mcp netguard seal vault workspace",
	"launch":           "access activity catalog db fault sandbox",
	"upstream":         "access catalog fault id mcp netguard sandbox seal upstream/* vault",
	"upstream/*":       "fault mcp netguard rawio upstream/*",
	"upstream/oauth":   "fault mcp netguard seal upstream/discovery",
	"upstream/shelf":   "catalog db upstream",
	"upstream/stdio":   "access catalog fault mcp sandbox",
	"quota":            "access activity db fault id",
	"credit":           "access activity db fault id",
	"approval":         "access activity db fault id seal",
	"budget":           "access activity db fault id workspace",
	"template":         "access activity budget catalog db fault id seal vault workspace",
	"managemcp":        "access fault id rest rest/platform server/request",
	"call":             "access activity catalog credit db fault id journal mcp quota upstream budget",
	"diagnosis":        "access activity catalog db fault id jobs mcp netguard seal upstream upstream/* diagnosis/*",
	"diagnosis/*":      "access activity catalog db fault id mcp netguard seal upstream upstream/discovery upstream/oauth diagnosis/*",
	"demo":             "",
	"gateway":          "access call catalog fault id mcp seal server/request upstream gateway/*",
	"gateway/notes":    "db",
	"gateway/*":        "access fault id mcp seal upstream",
	"rest":             "access activity fault id mcp rest/* server/request",
	"rest/platform":    "rest rest/meter access activity apikey launch sandbox upstream/stdio call catalog credit diagnosis db fault id identity mcp quota seal server/request tenancy tenancy/* upstream vault workspace approval budget template",
	"rest/account":     "rest rest/meter access activity apikey credit db fault id identity mcp quota seal tenancy",
	"rest/diagnostics": "rest access activity apikey approval call catalog db diagnosis diagnosis/* fault id identity mcp quota seal server/request tenancy upstream workspace",
	"rest/resttest":    "rest fault id server/request",
	"rest/replay":      "db id rest",
	"rest/meter":       "access quota rest server/request tenancy",
	"server":           "access activity fault id rawio rest server/*",
	"server/lane":      "rawio",
	"server/*":         "activity fault id",
	"app":              "*",
	"app/*":            "*",
	"cli":              "app client id fault diagnosis diagnosis/* rest cli/* db settings mcp netguard sandbox seal upstream/discovery upstream/oauth",
	"cli/*":            "fault mcp",
	"settings":         "fault netguard",
	"testkit":          "db fault testkit/*",
	"testkit/*":        "* testkit",
}

const module = "headgate/internal/"

func TestArrows(t *testing.T) {
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	used := map[string]bool{}
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		name, ok := strings.CutPrefix(p.ImportPath, module)
		if !ok {
			continue
		}
		row, ok := rowOf(name)
		if !ok {
			t.Errorf("%s has no row: say in arrows what it may import", name)
			continue
		}
		used[row] = true
		for _, imp := range p.Imports {
			if to, ok := strings.CutPrefix(imp, module); ok && !allows(arrows[row], to) {
				t.Errorf("%s may not import %s", name, to)
			}
		}
	}
	for row := range arrows {
		if !used[row] {
			t.Errorf("row %q has no package: remove it", row)
		}
	}
}

// rowOf finds a package's own row, else its parent's "parent/*".
func rowOf(name string) (string, bool) {
	if _, ok := arrows[name]; ok {
		return name, true
	}
	for i := strings.LastIndexByte(name, '/'); i > 0; i = strings.LastIndexByte(name[:i], '/') {
		if row := name[:i] + "/*"; arrows[row] != "" {
			return row, true
		}
	}
	return "", false
}

func allows(list, to string) bool {
	return slices.ContainsFunc(strings.Fields(list), func(w string) bool {
		if w == "*" || w == to {
			return true
		}
		parent, star := strings.CutSuffix(w, "*")
		return star && strings.HasPrefix(to, parent)
	})
}
