package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// Reference returns the page of all commands, in Markdown, made from their
// help.
func Reference() string {
	x := &env{program: &Program{Version: "dev"}, options: &commands{}, out: &bytes.Buffer{}, err: &bytes.Buffer{}, getenv: func(string) string { return "" }}
	parser, err := x.parser()
	if err != nil {
		panic(fmt.Errorf("the command tree: %w", err))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Commands\n\n```\n%s```\n", helpOf())
	for _, leaf := range parser.Model.Leaves(true) {
		path := strings.Fields(commandOf(leaf))
		fmt.Fprintf(&b, "\n## headgate %s\n\n```\n%s```\n", strings.Join(path, " "), helpOf(path...))
	}
	return b.String()
}

// commandOf is the words that select a command: its path without arguments.
func commandOf(n *kong.Node) string {
	if n == nil || n.Type != kong.CommandNode {
		return ""
	}
	return strings.TrimSpace(commandOf(n.Parent) + " " + n.Name)
}

// helpOf is what a command line ending in --help prints.
func helpOf(path ...string) string {
	var out bytes.Buffer
	p := &Program{Version: "dev"}
	p.Run(context.Background(), append(path, "--help"), strings.NewReader(""), &out, &out, func(string) string { return "" })
	return out.String()
}
