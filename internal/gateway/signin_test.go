package gateway_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"headgate/internal/diagnosis/grants"
	"headgate/internal/mcp"
	"headgate/internal/netguard"
	"headgate/internal/seal"
	"headgate/internal/testkit"
	"headgate/internal/testkit/oauthserver"
	"headgate/internal/upstream"
	"headgate/internal/upstream/discovery"
	"headgate/internal/upstream/oauth"
)

// signIn signs in at a server of the suite, and uses it through a Gateway: what
// headgate server authorize does, with a browser whose person always agrees.
func signIn(t *testing.T, revision mcp.Revision, scenario, at, given string) error {
	var g *grants.Service
	h := newHouse(t, func(o *houseOptions) {
		o.store = testkit.SQLite(t)
		o.credits = 1_000_000
		o.hub = func(ho *upstream.Options) {
			g = grants.New(grants.Options{Store: o.store, Keys: testkit.Must(keysOf())(t), Guard: netguard.New(netguard.Policy{Loopback: true})})
			ho.Binder = g.Binder(ho.Binder)
		}
	})
	d := h.serve("suite", at)
	w, err := h.resolver.Workspace(t.Context(), h.org, h.workspace)
	if err != nil {
		return err
	}
	server, ok := w.Server(d.ID)
	if !ok {
		return errors.New("the server is not there")
	}
	o := oauth.Options{Guard: netguard.New(netguard.Policy{Loopback: true}), Name: "Headgate", Redirect: "http://127.0.0.1:3000/callback", Browser: oauthserver.Agree,
		Document: "https://conformance-test.local/client-metadata.json"} // which the suite expects
	var c struct {
		ID            string `json:"client_id"`
		Secret        string `json:"client_secret"`
		Key           string `json:"private_key_pem"`
		Workload      string `json:"valid_jwt"`
		IDToken       string `json:"idp_id_token"`
		Provider      string `json:"idp_issuer"`
		ProvidersName string `json:"idp_client_id"`
	}
	if given != "" {
		if err := json.Unmarshal([]byte(given), &c); err != nil {
			return err
		}
		o.Given = &oauth.Registration{ID: c.ID, Secret: seal.NewValue(c.Secret), Key: seal.NewValue(c.Key)}
	}
	switch {
	case strings.HasPrefix(scenario, "auth/client-credentials"):
		o.Machine = true
	case c.Workload != "":
		o.Vouched = oauth.Workload(seal.NewValue(c.Workload))
	case c.IDToken != "":
		o.Vouched = oauth.New(o).Assertion(oauth.Identity{Issuer: c.Provider, Client: oauth.Registration{ID: c.ProvidersName}, Token: seal.NewValue(c.IDToken)})
	}
	use := func(ctx context.Context, k *oauth.Grant) (*discovery.Challenge, error) {
		_, err := g.Import(ctx, h.owner, server, grants.Tokens{ServerURL: server.URL, Resource: k.Resource, Issuer: k.Issuer, ClientID: k.Client.ID, ClientSecret: k.Client.Secret.Reveal(),
			ClientKey: k.Client.Key.Reveal(), ClientMethod: k.Client.Method, Machine: o.Machine, Access: k.Access.Reveal(), Refresh: k.Refresh.Reveal(), ExpiresIn: k.ExpiresIn, Scope: k.Scope})
		if err != nil {
			return nil, err
		}
		return h.tryTool(revision)
	}
	_, err = oauth.New(o).SignIn(t.Context(), server.URL, nil, use)
	return err
}

func keysOf() (*seal.Keys, error) {
	k, _, err := seal.Generate()
	return k, err
}

// tryTool lists the suite's tools and calls one through the Gateway. The
// challenge is what the Gateway says of the server's.
func (h *house) tryTool(revision mcp.Revision) (*discovery.Challenge, error) {
	params := func(members string) string { return `{` + members + `}` }
	var headers []string
	if revision.Era() == mcp.Modern {
		params = func(members string) string {
			if members != "" {
				members += ","
			}
			return `{` + members + `"_meta":{"` + mcp.MetaProtocolVersion + `":"` + string(revision) + `","` + mcp.MetaClientCapabilities + `":{},"` + mcp.MetaClientInfo + `":{"name":"t","version":"1"}}}`
		}
		headers = []string{"MCP-Protocol-Version: " + string(revision)}
	} else {
		hello := h.send("POST", "/mcp/suite", `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"`+string(revision)+`","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`)
		if ch, err := challenged(hello); ch != nil || err != nil {
			return ch, err
		}
		headers = []string{"Mcp-Session-Id: " + hello.header.Get("Mcp-Session-Id"), "MCP-Protocol-Version: " + string(revision)}
		h.send("POST", "/mcp/suite", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, headers...)
	}
	for _, m := range []struct{ method, members, name string }{{"tools/list", "", ""}, {"tools/call", `"name":"test-tool","arguments":{}`, "test-tool"}} {
		more := headers
		if revision.Era() == mcp.Modern {
			more = append(more[:len(more):len(more)], "Mcp-Method: "+m.method)
			if m.name != "" {
				more = append(more, "Mcp-Name: "+m.name)
			}
		}
		answer := h.send("POST", "/mcp/suite", `{"jsonrpc":"2.0","id":1,"method":"`+m.method+`","params":`+params(m.members)+`}`, more...)
		if ch, err := challenged(answer); ch != nil || err != nil {
			return ch, err
		}
	}
	return nil, nil
}

// challenged reads the challenge of an upstream out of an answer.
func challenged(r reply) (*discovery.Challenge, error) {
	var a struct {
		Result json.RawMessage
		Error  *struct {
			Message string
			Data    struct {
				Code    string
				Details struct{ Scope string }
			}
		}
	}
	text := r.body
	if _, data, found := strings.Cut(text, "data: "); found {
		text, _, _ = strings.Cut(data, "\n")
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return nil, fmt.Errorf("%w in %.300s", err, r.body)
	}
	switch {
	case a.Error == nil && a.Result != nil:
		return nil, nil
	case a.Error != nil && a.Error.Data.Code == upstream.ErrAuth.Code:
		return &discovery.Challenge{Bearer: true, Error: "invalid_token"}, nil
	case a.Error != nil && a.Error.Data.Code == upstream.ErrScope.Code:
		return &discovery.Challenge{Bearer: true, Error: "insufficient_scope", Scope: a.Error.Data.Details.Scope}, nil
	}
	return nil, fmt.Errorf("the Gateway answered %d: %.300s", r.status, r.body)
}
