package catalog_test

import (
	"encoding/json"
	"testing"

	"headgate/internal/catalog"
	"headgate/internal/testkit"
)

func TestHeaderTemplates(t *testing.T) {
	h := newHouse(t, testkit.SQLite(t))
	ctx := t.Context()
	in := server("one")
	in.ConfigSchema = json.RawMessage(`{"type":"object","properties":{"a":{"type":"string"},"b.c":{"type":"string"},"n":{"type":"integer"},"t":{"type":"boolean"}}}`)
	in.Headers = map[string]string{
		"X-Both": "{{config.a}}-${n}-${t}", "X-Dotted": "${b.c}", "X-Text": "$a {{a}} ${} {{config.}} ${no such} }}", "X-After": "${ ${a}", "X-Twice": "${a}${a}",
	}
	d := testkit.Must(h.CreateServer(ctx, h.home, in))(t)
	testkit.Must(h.Configure(ctx, h.home, d.Service.ID, []byte(`{"a":"${n}","n":42,"t":true}`)))(t)
	w := testkit.Must(h.resolver.Workspace(ctx, h.home.Organization, h.home.Workspace))(t)
	s, _ := w.Server("one")
	b := testkit.Must(h.resolver.Bind(ctx, s, h.home))(t)
	got := map[string]string{}
	for _, x := range b.Headers {
		got[x.Name] = x.Value.Reveal()
	}
	// A value that looks like a reference is not looked up again.
	testkit.Equal(t, got, map[string]string{"X-Both": "${n}-42-true", "X-Text": "$a {{a}} ${} {{config.}} ${no such} }}", "X-After": "${ ${n}", "X-Twice": "${n}${n}"})
	var _ catalog.Header = b.Headers[0]
}
