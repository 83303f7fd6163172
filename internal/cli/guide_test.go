package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var shell = regexp.MustCompile("(?s)```sh\n(.*?)\n```")

// TestGuide runs the commands of the guide to diagnoses, in their order, with
// a server that answers in place of the one they name.
func TestGuide(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "guides", "diagnostics.md"))
	if err != nil {
		t.Fatal(err)
	}
	script := "exec headgate server add weather $UPSTREAM\n"
	commands := 0
	for _, block := range shell.FindAllStringSubmatch(string(page), -1) {
		for line := range strings.SplitSeq(block[1], "\n") {
			if !strings.HasPrefix(line, "headgate ") {
				continue
			}
			commands++
			line, file, _ := strings.Cut(line, " > ")
			script += "exec " + strings.ReplaceAll(line, "https://mcp.example.com/mcp", "$UPSTREAM") + "\n"
			if file != "" {
				script += fmt.Sprintf("cp stdout %s\n", file)
			}
		}
	}
	if commands < 10 {
		t.Fatalf("the guide has %d commands", commands)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "guide.txtar"), []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	p := scripts
	p.Dir = dir
	testscript.Run(t, p)
}
