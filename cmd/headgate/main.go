// Command headgate is the whole product in one binary: headgate serve runs the
// server, the other commands are its clients.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"headgate/internal/app"
	"headgate/internal/settings"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	flags := map[string]string{}
	for i := 2; i+1 < len(os.Args); i += 2 {
		flags[os.Args[i][2:]] = os.Args[i+1]
	}
	s, err := settings.Load("", os.Getenv, flags)
	if err == nil {
		err = app.Serve(ctx, s, version, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
