package main

import (
	"context"

	"headgate/internal/rest"
	"headgate/internal/rest/account"
	"headgate/internal/rest/diagnostics"
	"headgate/internal/rest/platform"
)

// target is a door and what is made of it.
type target struct {
	name   string // of its page
	door   *rest.Door
	client string // the directory of its Go client; "" for none
}

// doors builds every door without what it would serve from: registering
// operations needs none of it.
func doors() []target {
	whole := platform.New(platform.Options{Idempotency: noStore{}})
	diagnostics.RegisterPlatform(whole, diagnostics.PlatformOptions{})
	diagnoses, keys := diagnostics.New(diagnostics.Options{})
	return []target{
		{"platform", whole, "client"},
		{"account", account.New(account.Options{Idempotency: noStore{}}), ""},
		{"diagnostics", diagnoses, ""},
		{"diagnostics-keys", keys, ""},
	}
}

// noStore stands for the store of idempotent answers, which a door must have
// to document them.
type noStore struct{}

func (noStore) Begin(context.Context, string, string, [32]byte) ([]byte, error) { return nil, nil }
func (noStore) Finish(context.Context, string, string, []byte) error            { return nil }
func (noStore) Abandon(context.Context, string, string) error                   { return nil }
