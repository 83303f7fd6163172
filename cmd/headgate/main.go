package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"headgate/internal/app"
	"headgate/internal/cli"
	"headgate/internal/sandbox"
	"headgate/internal/settings"
)

// version is set by the build.
var version = "dev"

func main() {
	// A probe of the walls runs as this program too; it must be nothing else.
	if len(os.Args) > 1 && os.Args[1] == sandbox.HelperArg {
		os.Exit(sandbox.HelperMain(os.Args[2:]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	program := cli.Program{
		Version: version,
		Serve: func(ctx context.Context, s *settings.Settings) error {
			// Children that run strangers' code must not read this memory.
			if err := sandbox.Harden(); err != nil {
				fmt.Fprintln(os.Stderr, "this process could not be closed to others:", err)
			}
			return app.Serve(ctx, s, version, os.Stdout)
		},
		Migrate: app.Migrate,
		Manage: func(ctx context.Context, url string, getenv func(string) string, _ io.Reader, _ io.Writer) error {
			return app.ManageStdio(ctx, url, version, getenv, os.Stdin, os.Stdout)
		},
		VerifyAudit: app.VerifyAudit,
	}
	os.Exit(program.Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}
