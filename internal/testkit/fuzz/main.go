package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"
)

func main() {
	inputs := flag.Int("inputs", 20_000, "inputs for each target, in one go")
	atLeast := flag.Duration("for", 0, "go on with as many again until this time has passed, for each target")
	only := flag.String("only", "", "run the targets whose name matches this regular expression")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *inputs, *atLeast, *only); err != nil {
		fmt.Fprintln(os.Stderr, "fuzz:", err)
		os.Exit(1)
	}
}

// target is one fuzz function and the directory it is in.
type target struct{ dir, name string }

func run(ctx context.Context, inputs int, atLeast time.Duration, only string) error {
	chosen, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	targets, err := find(ctx)
	if err != nil {
		return err
	}
	targets = slices.DeleteFunc(targets, func(t target) bool { return !chosen.MatchString(t.name) })
	if len(targets) == 0 {
		return errors.New("no target has such a name")
	}
	for _, t := range targets {
		start, tried := time.Now(), 0
		for tried == 0 || time.Since(start) < atLeast {
			if err := t.fuzz(ctx, inputs); err != nil {
				return err
			}
			tried += inputs
		}
		fmt.Printf("fuzz %s %s: %d inputs in %v\n", t.dir, t.name, tried, time.Since(start).Round(time.Second))
	}
	fmt.Printf("%d targets, nothing found\n", len(targets))
	return nil
}

func (t target) fuzz(ctx context.Context, inputs int) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-fuzz=^"+t.name+"$", fmt.Sprintf("-fuzztime=%dx", inputs), "./"+t.dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", t.dir, t.name, err, out)
	}
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
