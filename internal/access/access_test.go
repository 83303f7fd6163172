package access_test

import (
	"errors"
	"testing"
	"time"

	"headgate/internal/access"
)

func TestRequire(t *testing.T) {
	key := func(role access.Role, words ...string) *access.Principal {
		s, ok := access.ParseScopes(words)
		if !ok {
			t.Fatal("bad scopes")
		}
		return &access.Principal{Kind: access.PersonalKey, Role: role, Scopes: s}
	}
	for _, c := range []struct {
		name string
		p    *access.Principal
		perm access.Permission
		want bool
	}{
		{"a key needs the scope", key(access.Owner, "mcp:read"), access.Call, false},
		{"a key needs its owner's role too", key(access.Viewer, "mcp:write"), access.Call, false},
		{"both suffice", key(access.Member, "mcp:write"), access.Call, true},
		{"owner passes every admin check", key(access.Owner, "org:write"), access.OrgManage, true},
		{"keys do not manage keys", key(access.Owner, access.Every.List()...), access.KeysManage, false},
		{"operator keys cannot call", &access.Principal{Kind: access.OperatorKey, Role: access.Owner, Scopes: access.Every}, access.Call, false},
		{"operator keys operate", &access.Principal{Kind: access.OperatorKey}, access.Operate, true},
		{"organization keys never do", &access.Principal{Kind: access.OrganizationKey, Role: access.Owner, Scopes: access.Every}, access.Operate, false},
		{"nobody may nothing", nil, access.Read, false},
		{"an unknown permission is no", key(access.Owner, access.Every.List()...), "made.up", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := access.Require(c.p, c.perm)
			if (err == nil) != c.want || err != nil && !errors.Is(err, access.ErrDenied) {
				t.Fatalf("got %v", err)
			}
		})
	}
}

func TestScopes(t *testing.T) {
	if len(access.Every.List()) != len(access.AllScopes) {
		t.Fatal("Every does not hold every scope")
	}
	if _, ok := access.ParseScopes([]string{"*"}); ok {
		t.Fatal("a wildcard is no scope")
	}
	if access.ScopesOf(access.Viewer).Has(access.MCPWrite) {
		t.Fatal("a viewer could lend mcp:write")
	}
}

func TestDone(t *testing.T) {
	d := access.NewDone()
	p := access.Principal{}.WithDone(d)
	d.Close()
	d.Close()
	select {
	case <-p.Revoked():
	case <-time.After(time.Second):
		t.Fatal("stream not told")
	}
	if p.Live(time.Now()) {
		t.Fatal("revoked and live")
	}
}

func TestMetered(t *testing.T) {
	key := access.Principal{Kind: access.PersonalKey, ID: "key_1", User: "user_1"}
	first, second := access.Principal{Kind: access.Session, ID: "ses_1", User: "user_1"}, access.Principal{Kind: access.Session, ID: "ses_2", User: "user_1"}
	if key.Metered() != "key_1" || first.Metered() != "user_1" || second.Metered() != "user_1" {
		t.Fatalf("a key has its own rate, a person's sessions share one: %q %q %q", key.Metered(), first.Metered(), second.Metered())
	}
}
