package diagnostics_test

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/apikey"
	"headgate/internal/testkit"
)

// Each guard refuses before the next one looks, and the ones before the store
// cost it nothing.
func TestGuardOrder(t *testing.T) {
	h := onSQLite(t)
	me := "/api/v1/me"
	h.as(h.key, "GET", me, nil).want(200) // from now on it is known in memory
	free := func(name string, ask func() *answer) {
		t.Run(name+", with no query", func(t *testing.T) {
			before := h.Store.Queries()
			a := ask()
			if n := h.Store.Queries() - before; n != 0 {
				t.Errorf("%d queries for %d %s", n, a.Status, a.Raw)
			}
		})
	}
	garbage := "sk_" + strings.Repeat("a", 36)
	free("no credential is 401", func() *answer { return h.as("", "GET", me, nil).refused(401, "UNAUTHORIZED") })
	free("another scheme is 401", func() *answer {
		return h.as("", "GET", me, nil, "Authorization: Basic "+h.key).refused(401, "UNAUTHORIZED")
	})
	free("a key that is no key is 401", func() *answer { return h.as(garbage, "GET", me, nil).refused(401, "UNAUTHORIZED") })
	free("a token that is none is 401", func() *answer { return h.as("e30.e30.x", "GET", me, nil).refused(401, "UNAUTHORIZED") })
	free("a credential too long is 401, and a body too large 413", func() *answer {
		h.as("sk_"+strings.Repeat("a", 5000), "GET", me, nil).refused(401, "UNAUTHORIZED")
		return h.as(h.key, "POST", h.on(h.demo, "/tools"), `{"cursor":"`+strings.Repeat("a", 1<<20)+`"}`).want(413)
	})
	free("two credentials that disagree are 400", func() *answer {
		return h.as(h.key, "GET", me, nil, "X-API-Key: "+garbage).refused(400, "VALIDATION_ERROR")
	})
	free("a key in the URL is 400", func() *answer {
		return h.as("", "GET", me+"?api_key=x", nil).refused(400, "VALIDATION_ERROR")
	})
	for kind, prefix := range map[string]string{"publishable": "pk_live_", "secret": "sk_live_", "personal": "mcp_sk_", "account": "mcp_", "organization": "ok_", "workspace": "wk_", "operator": "op_", "acting": "hga_"} {
		free("the prefix of a "+kind+" key is 401", func() *answer {
			return h.as(prefix+strings.Repeat("a", 36), "GET", me, nil).refused(401, "UNAUTHORIZED")
		})
	}
	personal, value := h.Key(h.owner.Organization, access.PersonalKey, h.owner.ID)
	free("a real key of another kind is 401 too", func() *answer { return h.as(value, "GET", me, nil).refused(401, "UNAUTHORIZED") })
	_ = personal
	h.rest()
	for range 10 {
		h.as(h.key, "GET", me, nil).want(200)
	}
	free("the eleventh at once is 429", func() *answer {
		a := h.as(h.key, "POST", h.on(h.demo, "/tools"), "[nonsense").refused(429, "RATE_LIMITED")
		if s, err := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || s < 1 || s > 60 {
			t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
		}
		return a
	})
	t.Run("another key of the same person has a rate of its own", func(t *testing.T) {
		h.as(h.diagnosticsKey(h.owner.Organization, h.owner.ID), "GET", me, nil).want(200)
	})
	t.Run("after a second one more fits, and sixty a minute do", func(t *testing.T) {
		h.now = h.now.Add(time.Second)
		h.as(h.key, "GET", me, nil).want(200)
		h.as(h.key, "GET", me, nil).want(429)
	})
	h.rest()
	viewer := h.diagnosticsKey(h.owner.Organization, h.Member(h.owner.Organization, "viewer", access.Viewer).ID)
	h.as(viewer, "GET", me, nil).want(200)
	free("a right that is missing is 403", func() *answer {
		return h.as(viewer, "POST", h.on(h.demo, "/validate"), "[nonsense").refused(403, "FORBIDDEN")
	})
	free("a body that cannot be read is 400", func() *answer {
		return h.as(h.key, "POST", h.on(h.demo, "/validate"), "[nonsense").refused(400, "VALIDATION_ERROR")
	})
	t.Run("a key nobody knows is looked up once, and counts against its address before it may cost another", func(t *testing.T) {
		h.rest()
		before := h.Store.Queries()
		statuses := map[int]int{}
		const tries = 200
		for range tries {
			statuses[h.as(unknownKey(t), "GET", me, nil).Status]++
		}
		looked := h.Store.Queries() - before
		if statuses[401] == 0 || statuses[429] == 0 || statuses[401]+statuses[429] != tries || looked > int64(statuses[401]) {
			t.Errorf("%v, %d queries", statuses, looked)
		}
	})
	t.Run("then the organization, then the right, then the object", func(t *testing.T) {
		customer := h.Customer(h.owner, "Suspended")
		key := h.diagnosticsKey(customer, h.owner.ID)
		reader := h.diagnosticsKey(h.owner.Organization, h.Member(h.owner.Organization, "reader", access.Viewer).ID)
		h.now = h.now.Add(time.Hour) // the address may ask again
		h.as(key, "GET", me, nil).want(200)
		testkit.Must(h.Tenancy.SuspendOrganization(t.Context(), &access.Principal{Kind: access.OperatorKey, ID: "key_op"}, customer.ID))(t)
		if a := h.as(key, "POST", "/api/v1/projects/nowhere/servers/none/doctor", "[nonsense"); a.Status < 400 || a.Status == 404 || a.Status == 400 {
			t.Errorf("the organization comes before body and object: %d %s", a.Status, a.Raw)
		}
		h.as(reader, "POST", "/api/v1/projects/nowhere/servers/none/doctor", nil).refused(403, "FORBIDDEN")
		h.as(h.key, "POST", "/api/v1/projects/nowhere/servers/none/doctor", nil).refused(404, "NOT_FOUND")
	})
}

func TestBodies(t *testing.T) {
	h := onSQLite(t)
	for _, c := range []struct {
		body   string
		status int
	}{
		{"", 200}, {"{}", 200}, {" {} ", 200}, {"[]", 400}, {"[{}]", 400}, {"{", 400}, {"null", 400}, {`"a"`, 400}, {"{}{}", 400}, {`{"cursor":1}`, 400},
		{`{"projectId":"x"}`, 400}, {`{"serverId":"x"}`, 400}, {`{"unknown":1}`, 400}, {`{"Cursor":""}`, 400}, {"{\"cursor\":\"\xff\"}", 400},
	} {
		t.Run(fmt.Sprintf("%q is %d", c.body, c.status), func(t *testing.T) {
			h.rest()
			a := h.as(h.key, "POST", h.on(h.demo, "/tools"), c.body).want(c.status)
			if c.status == 400 {
				a.refused(400, "VALIDATION_ERROR")
			}
		})
	}
	for _, op := range []string{"/validate", "/doctor", "/check-oauth", "/export"} {
		t.Run(op+" takes an empty body, {}, and no more", func(t *testing.T) {
			h.rest()
			h.as(h.key, "POST", h.on(h.demo, op), "").want(200)
			h.as(h.key, "POST", h.on(h.demo, op), "{}").want(200)
			h.as(h.key, "POST", h.on(h.demo, op), `{"serverId":"other"}`).refused(400, "VALIDATION_ERROR")
			h.as(h.key, "POST", h.on(h.demo, op), `[]`).refused(400, "VALIDATION_ERROR")
			h.as(h.key, "POST", h.on(h.demo, op), `{`).refused(400, "VALIDATION_ERROR")
		})
	}
}

func TestDeadCredentials(t *testing.T) {
	h := onSQLite(t)
	t.Run("a revoked key is 401 from the moment of its revocation", func(t *testing.T) {
		key := h.diagnosticsKey(h.owner.Organization, h.owner.ID)
		h.as(key, "GET", "/api/v1/me", nil).want(200)
		h.revoke(key)
		a := h.as(key, "GET", "/api/v1/me", nil).refused(401, "UNAUTHORIZED")
		if _, has := a.Body["details"]; has {
			t.Errorf("details: %s", a.Raw)
		}
	})
	t.Run("a key whose owner left is an orphan", func(t *testing.T) {
		guest := h.Member(h.owner.Organization, "guest", access.Developer)
		key := h.diagnosticsKey(h.owner.Organization, guest.ID)
		h.as(key, "GET", "/api/v1/me", nil).want(200)
		owner := testkit.Must(h.Identity.Authenticate(t.Context(), h.owner.Token))(t)
		testkit.Must0(t, h.Tenancy.Remove(t.Context(), owner, h.owner.Organization.ID, guest.ID))
		testkit.Equal(t, h.as(key, "GET", "/api/v1/me", nil).refused(401, "UNAUTHORIZED").text("details", "reason"), "ORPHANED_KEY")
	})
	t.Run("a key whose organization is gone is an orphan", func(t *testing.T) {
		customer := h.Customer(h.owner, "Gone")
		key := h.diagnosticsKey(customer, h.owner.ID)
		h.as(key, "GET", "/api/v1/me", nil).want(200)
		owner := testkit.Must(h.Identity.Authenticate(t.Context(), h.Start(h.owner.User, customer.ID).Token))(t)
		testkit.Must(h.Tenancy.RemoveOrganization(t.Context(), owner, customer.ID))(t)
		testkit.Equal(t, h.as(key, "GET", "/api/v1/me", nil).refused(401, "UNAUTHORIZED").text("details", "reason"), "ORPHANED_KEY")
	})
}

// A key acts inside its one organization, whatever its owner may elsewhere.
func TestOneOrganization(t *testing.T) {
	h := onSQLite(t)
	other := h.Customer(h.owner, "Other")
	theirs := testkit.Must(h.Workspaces.Default(t.Context(), other.ID))(t).ID
	server := h.Demo(other, "theirs")
	stranger := h.Tenant("stranger")
	strange := h.Demo(stranger.Organization, "strange")
	foreign := testkit.Must(h.Workspaces.Default(t.Context(), stranger.Organization.ID))(t).ID
	key := h.diagnosticsKey(h.owner.Organization, h.owner.ID)
	t.Run("its owner's other organizations are not listed for it, and are for the session", func(t *testing.T) {
		testkit.Equal(t, len(h.as(key, "GET", "/api/v1/organizations", nil).at("items").([]any)), 1)
		testkit.Equal(t, len(h.as(h.owner.Token, "GET", "/api/v1/organizations", nil).at("items").([]any)), 2)
	})
	random := "ws_01m8hwwntwe00sh0j99adsrpt8"
	missing := h.as(key, "GET", "/api/v1/projects/"+random, nil).refused(404, "NOT_FOUND").Raw
	for name, p := range map[string]struct{ project, server string }{
		"another organization's": {theirs, server.ID}, "another tenant's": {foreign, strange.ID}, "a malformed": {"%00", "x"}, "a random": {random, server.ID},
	} {
		t.Run(name+" project is one that does not exist", func(t *testing.T) {
			h.rest()
			if name == "a malformed" {
				h.as(key, "GET", "/api/v1/projects/..%2f", nil).refused(404, "NOT_FOUND")
				return
			}
			testkit.Equal(t, h.as(key, "GET", "/api/v1/projects/"+p.project, nil).Raw, missing)
			for _, op := range []string{"validate", "doctor", "check-oauth", "tools", "prompts", "resources", "export"} {
				h.as(key, "POST", "/api/v1/projects/"+p.project+"/servers/"+p.server+"/"+op, nil).refused(404, "NOT_FOUND")
			}
		})
	}
	t.Run("a foreign server in one's own project does not exist either", func(t *testing.T) {
		h.rest()
		h.as(key, "POST", h.on(server.ID, "/doctor"), nil).refused(404, "NOT_FOUND")
		h.as(key, "DELETE", h.on(server.ID, ""), nil).refused(404, "NOT_FOUND")
		h.as(key, "PATCH", h.on(strange.ID, ""), map[string]any{"enabled": false}).refused(404, "NOT_FOUND")
	})
	t.Run("a project elsewhere cannot be made with it", func(t *testing.T) {
		h.as(key, "POST", "/api/v1/projects", map[string]any{"name": "x", "organizationId": other.ID}).refused(403, "FORBIDDEN")
	})
}

func TestNotFoundAndMethods(t *testing.T) {
	h := onSQLite(t)
	h.as(h.key, "GET", "/api/v1/nope", nil).refused(404, "NOT_FOUND")
	a := h.as(h.key, "GET", h.on(h.demo, "/doctor"), nil)
	testkit.Equal(t, []any{a.Status, a.Header.Get("Allow")}, []any{405, "POST"})
	h.as(h.key, "POST", h.on(h.demo, "/tools"), `{}`, "Content-Type: text/plain").want(http.StatusUnsupportedMediaType)
}

// unknownKey is a key of the right form that was never made.
func unknownKey(t *testing.T) string {
	t.Helper()
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	body := []byte("sk_")
	for range 30 {
		body = append(body, alphabet[rand.IntN(len(alphabet))])
	}
	sum, check := crc32.ChecksumIEEE(body), make([]byte, 6)
	for i := len(check) - 1; i >= 0; i-- {
		check[i], sum = alphabet[sum%62], sum/62
	}
	key := string(body) + string(check)
	if _, ok := apikey.Parse(key); !ok {
		t.Fatal("the form of keys has changed")
	}
	return key
}
