package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"

	"golang.org/x/sync/errgroup"

	"headgate/internal/settings"
)

// Run serves until ctx ends: everything long-lived starts here and is awaited
// here, the listener first so that a taken port fails before anything else.
func (a *App) Run(ctx context.Context) error {
	if err := a.Server.Listen(ctx); err != nil {
		return err
	}
	// Background work stops after the listeners have drained: what their last
	// requests leave behind is still written.
	back, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()
	a.Store.Join()
	var work errgroup.Group
	for _, part := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"replicas", func(ctx context.Context) error { return a.Store.Replicate(ctx, a.Log) }}, {"keys", a.APIKeys.Run}, {"rows of calls", a.Committer.Run}, {"credits", func(ctx context.Context) error { return a.Credits.Run(ctx, a.Log) }}, {"daily counts", a.Daily.Run}, {"bodies", a.Bodies.Run}, {"error log", a.Errors.Run},
		{"jobs", a.Jobs.Run}, {"gateway", a.Gateway.Run}, {"programs", a.runPrograms}, {"budgets and checkpoints", a.runManage},
	} {
		work.Go(func() error {
			if err := part.run(back); err != nil && !errors.Is(err, context.Canceled) {
				a.Log.Error("background work stopped", "part", part.name, "error", err)
				return fmt.Errorf("%s: %w", part.name, err)
			}
			return nil
		})
	}
	// Building the doors' documents leaves tens of megabytes behind; an idle
	// Headgate should not keep them.
	debug.FreeOSMemory()
	trim()
	a.ready.up.Store(true)
	err := a.Server.Run(ctx)
	a.ready.up.Store(false)
	stopBack()
	return errors.Join(err, work.Wait())
}

// Serve is headgate serve: open, say where things are, run, close.
func Serve(ctx context.Context, s *settings.Settings, version string, out io.Writer) error {
	// The cold side allocates; on a gateway a larger heap is cheap and a busy
	// collector is not. An operator's GOGC wins.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300)
	}
	log := NewLog(s, os.Stderr)
	a, err := Open(ctx, s, version, log)
	if err != nil {
		return err
	}
	if err := a.Server.Listen(ctx); err != nil {
		return errors.Join(err, a.Close())
	}
	a.announce(out)
	return errors.Join(a.Run(ctx), a.Close())
}

// announce is the start-up text: short, and on a first start with what is
// shown once.
func (a *App) announce(out io.Writer) {
	url := a.Settings.PublicURL()
	store := "SQLite in " + a.Settings.Data
	if a.Settings.Database != "" {
		store = "PostgreSQL"
	}
	fmt.Fprintf(out, "Headgate %s  %s  (%s)\n\n  MCP endpoint  %s/mcp\n  REST API      %s/v1   (described at %s/v1/openapi.json)\n", a.serverVersion(), url, store, url, url, url)
	if a.Settings.LoopbackOnly() {
		fmt.Fprintln(out, "  Listening on loopback alone, so servers on loopback may be registered too.")
	}
	if f := a.first; f != nil {
		fmt.Fprintf(out, "\nFirst start. These are shown once, and kept in %s/%s until the owner changes the password:\n\n"+
			"  owner             %s   password %s\n  API key           %s\n  organization key  %s   (root of the organization)\n  operator key      %s   (root of the installation)\n",
			a.Settings.Data, firstRunFile, f.OwnerEmail, f.OwnerPassword, f.APIKey, f.OrganizationKey, f.OperatorKey)
	}
	fmt.Fprintf(out, "\nA first call:  %sbin/headgate call demo echo '{\"text\":\"hello\"}'%s\n\n", a.keyVariable(), a.urlFlag())
}

// keyVariable is what the first call needs when the key is not where commands
// look for it.
func (a *App) keyVariable() string {
	here, err1 := filepath.Abs(a.Settings.Data)
	usual, err2 := filepath.Abs("data")
	switch {
	case err1 == nil && err2 == nil && here == usual:
		return ""
	case a.first != nil:
		return "HEADGATE_KEY=" + a.first.APIKey + " "
	}
	return "HEADGATE_KEY=mcp_sk_… "
}

// urlFlag is what the first call needs when this is not the default address.
func (a *App) urlFlag() string {
	if url := a.Settings.PublicURL(); url != "http://127.0.0.1:8080" {
		return " --url " + url
	}
	return ""
}

// Migrate is headgate migrate: it brings the schema up and returns the names of
// the steps it took.
func Migrate(ctx context.Context, s *settings.Settings) ([]string, error) {
	a := &App{Settings: s}
	err := a.openStores(ctx)
	return a.migrated, errors.Join(err, a.Close())
}

// NewLog returns the log the settings ask for.
func NewLog(s *settings.Settings, w io.Writer) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(strings.ToUpper(s.LogLevel))) // checked by settings
	o := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, o))
	}
	return slog.New(slog.NewTextHandler(w, o))
}
