package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"
)

// limit bounds a run, whatever hangs.
const limit = 20 * time.Minute

func main() {
	// The kernel ends our children with the thread that started them.
	runtime.LockOSThread()
	if len(os.Args) > 1 {
		if part, ok := parts[os.Args[1]]; ok {
			exit(part())
		}
	}
	quick := flag.Bool("quick", false, "fewer and shorter rounds: little more than a minute")
	only := flag.String("only", "", "run the measurements whose name matches this regular expression")
	markdown := flag.Bool("markdown", false, "print the tables as Markdown, as README.md has them")
	lean := flag.Bool("lean", false, "in front of a server that costs half of the usual one; see docs/decisions/0019-yardstick.md")
	without := flag.Bool("without-headgate", false, "measure only the baselines")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGPIPE)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	exit(run(ctx, options{quick: *quick, only: *only, lean: *lean, without: *without, markdown: *markdown}))
}

type options struct {
	quick    bool
	only     string
	lean     bool
	without  bool
	markdown bool
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// run starts the parts, measures, and prints.
func run(ctx context.Context, o options) error {
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("-only: %w", err)
	}
	b := &bench{
		ctx: ctx, quick: o.quick, lean: o.lean, some: o.only != "" || o.without, rounds: 5, round: time.Second, warm: 150 * time.Millisecond,
		callers: map[*target][]*caller{}, results: map[key][]sample{}, values: map[string][]float64{},
	}
	if o.quick {
		b.rounds, b.round, b.warm = 3, 250*time.Millisecond, 40*time.Millisecond
	}
	defer b.stop()
	if err := b.start(!o.without); err != nil {
		return err
	}
	for _, m := range measurements {
		if !only.MatchString(m.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s …", m.name)
		debug.FreeOSMemory() // what one leaves behind in this process is no business of the next
		start := time.Now()
		if err := m.run(b); err != nil {
			fmt.Fprintln(os.Stderr)
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Fprintf(os.Stderr, " %.1f s\n", time.Since(start).Seconds())
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	b.print(os.Stdout, o.markdown)
	if b.wrong.total() > 0 {
		return fmt.Errorf("answers were wrong: %s", &b.wrong)
	}
	return nil
}
