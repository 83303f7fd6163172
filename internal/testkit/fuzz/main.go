package main

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
)

func main() {
	inputs := flag.Int("inputs", 20_000, "inputs for each target")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *inputs); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

// target is one fuzz function and the directory it is in.
type target struct{ dir, name string }

func run(ctx context.Context, inputs int) error {
	targets, err := find(ctx)
	if err != nil {
		return err
	}
	for _, t := range targets {
		fmt.Printf("fuzz %s %s, %d inputs\n", t.dir, t.name, inputs)
		cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-fuzz=^"+t.name+"$", fmt.Sprintf("-fuzztime=%dx", inputs), "./"+t.dir)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s %s: %w\n%s", t.dir, t.name, err, out)
		}
	}
	fmt.Printf("%d targets, nothing found\n", len(targets))
	return nil
}

// find reads the sources: listing with go test would build every package.
func find(ctx context.Context) (list []target, err error) {
	out, err := exec.CommandContext(ctx, "git", "grep", "-E", `^func Fuzz[A-Za-z0-9_]*\(f \*testing\.F\)`, "--", "*_test.go").Output()
	if err != nil {
		return nil, fmt.Errorf("find the targets: %w", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		file, decl, ok := strings.Cut(lines.Text(), ":")
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(decl, "func "), "(")
		list = append(list, target{file[:strings.LastIndexByte(file, '/')], name})
	}
	return list, nil
}
