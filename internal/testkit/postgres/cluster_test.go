package postgres_test

import (
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"headgate/internal/testkit/postgres"
)

func start(t *testing.T, o postgres.Options) *postgres.Cluster {
	t.Helper()
	c, err := postgres.Start(t.Context(), t.TempDir(), o)
	if errors.Is(err, postgres.ErrMissing) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStart(t *testing.T) {
	c := start(t, postgres.Options{Idle: time.Second})
	at, err := url.Parse(c.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(at.Query().Get("host"), ".s.PGSQL.5432")
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatalf("a started cluster takes no connection: %v", err)
	}
	conn.Close()
	c.Close()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if _, err := os.Stat(filepath.Dir(socket)); errors.Is(err, os.ErrNotExist) {
			os.RemoveAll(filepath.Dir(filepath.Dir(socket)))
			return
		}
	}
	t.Error("the cluster outlives its last user")
}

func TestFind(t *testing.T) {
	t.Run("a program in PATH that does not work is passed over", func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{"postgres", "initdb"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		t.Setenv("PATH", dir)
		if found, err := postgres.Find(t.Context()); found == dir {
			t.Errorf("Find = %q, %v: chose the broken wrapper", found, err)
		}
	})
}
