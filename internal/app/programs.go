package app

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	shipped "headgate/catalog"
	"headgate/internal/launch"
	"headgate/internal/sandbox"
	"headgate/internal/upstream/stdio"
)

// programs are the parts that host stdio servers.
type programs struct {
	Sandbox  *sandbox.Launcher
	Launch   *launch.Service
	Programs *stdio.Host
}

// buildPrograms makes the operator's catalog and the host of its programs.
// Nothing is started and no wall tried before a server needs it.
func (a *App) buildPrograms() error {
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	level, err := sandbox.ParseLevel(a.Settings.SandboxLevel)
	if err != nil {
		return err
	}
	a.Sandbox, err = sandbox.NewLauncher(sandbox.Config{Executable: executable, Dial: a.Guard.DialContext, Log: a.Log, Now: a.Now})
	if err != nil {
		return err
	}
	a.Launch, err = launch.New(launch.Options{Store: a.Store, Catalog: a.Catalog, Data: a.Settings.Data, Shipped: shipped.Files, Level: level, Now: a.Now, Log: a.Log})
	if err != nil {
		return err
	}
	a.Programs = stdio.NewHost(stdio.Options{Launcher: a.Sandbox, Level: level, Resolver: a.Resolver, Spec: a.Launch.Spec, Version: a.Version, Log: a.Log, Now: a.Now})
	a.Store.OnChange(a.Programs.Changed)
	return nil
}

// runPrograms looks after the programs until the context ends.
func (a *App) runPrograms(ctx context.Context) error {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { a.tidyPrograms(ctx) })
	return a.Programs.Run(ctx)
}

// tidyPrograms installs what is enabled and missing on this machine, says so
// when programs are on offer and may not be started here, and cleans up after
// servers that are gone.
func (a *App) tidyPrograms(ctx context.Context) {
	for first := true; ; first = false {
		offered, err := a.Launch.Restore(ctx)
		if err == nil && first && offered > 0 {
			err = a.Programs.Ready(ctx)
		}
		if err = errors.Join(err, a.Launch.Sweep(ctx)); err != nil && ctx.Err() == nil {
			a.Log.Warn("not every stdio server on offer can be started here", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Hour):
		}
	}
}

// closePrograms ends every child; none is left when it returns.
func (a *App) closePrograms() {
	if a.Programs == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	a.Programs.Close(ctx)
	a.Sandbox.Close(ctx)
}
