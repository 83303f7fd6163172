package cli_test

import (
	"bytes"
	"context"
	"regexp"
	"strings"
	"testing"

	"headgate/internal/cli"
)

func TestHelp(t *testing.T) {
	page := cli.Reference()
	sections := regexp.MustCompile(`(?m)^## (headgate [a-z -]+)\n`).FindAllStringSubmatchIndex(page, -1)
	if len(sections) < 30 {
		t.Fatalf("only %d commands are in the reference", len(sections))
	}
	for i, at := range sections {
		name, end := page[at[2]:at[3]], len(page)
		if i+1 < len(sections) {
			end = sections[i+1][0]
		}
		body := page[at[1]:end]
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(body, "\n    "+name) && !strings.Contains(body, "\n    HEADGATE_KEY=op_… "+name) {
				t.Errorf("its help has no example:\n%s", body)
			}
			for _, line := range strings.Split(body, "\n") {
				if flag := strings.TrimSpace(line); strings.HasPrefix(flag, "--") && !strings.Contains(flag, "  ") && len(flag) < 30 {
					t.Errorf("%s has no help", flag)
				}
			}
		})
	}
}

// TestCommandTree holds what scripts rely on: the words of commands and flags.
func TestCommandTree(t *testing.T) {
	run := func(args ...string) (code int, out, err string) {
		var stdout, stderr bytes.Buffer
		p := &cli.Program{Version: "v1"}
		code = p.Run(context.Background(), args, strings.NewReader(""), &stdout, &stderr, func(string) string { return "" })
		return code, stdout.String(), stderr.String()
	}
	t.Run("no arguments are a question for help", func(t *testing.T) {
		code, out, _ := run()
		if code != 0 || !strings.Contains(out, "Usage: headgate <command>") {
			t.Error(code, out)
		}
	})
	t.Run("a noun alone names its verbs", func(t *testing.T) {
		code, _, err := run("server")
		if code != 2 || !strings.Contains(err, `"add"`) || !strings.Contains(err, "headgate server --help") {
			t.Error(code, err)
		}
	})
	t.Run("a word that is no choice is refused before anything is sent", func(t *testing.T) {
		for _, args := range [][]string{
			{"key", "create", "x", "--kind", "golden"}, {"org", "invite", "a@example.com", "--role", "owner"},
			{"server", "add", "a", "http://localhost", "--era", "ancient"}, {"usage", "--by", "hour"},
			{"server", "update", "a", "--enable", "--disable"}, {"key", "revoke", "key_1", "--tree"}, {"key", "create", "x", "--expires-in", "soon"},
		} {
			if code, _, err := run(args...); code != 2 || !strings.Contains(err, "headgate: ") {
				t.Errorf("%v: %d %s", args, code, err)
			}
		}
	})
}
