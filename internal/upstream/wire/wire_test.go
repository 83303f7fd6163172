package wire_test

import (
	"net/url"
	"testing"

	"headgate/internal/upstream/wire"
)

func target(tb testing.TB, raw string, static ...wire.Field) *wire.Target {
	tb.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		tb.Fatal(err)
	}
	tgt, err := wire.NewTarget(u, static)
	if err != nil {
		tb.Fatal(err)
	}
	return tgt
}
