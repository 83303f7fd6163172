package checkup_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/diagnosis/checkup"
	"headgate/internal/diagnosis/report"
	"headgate/internal/testkit"
)

// issuer is an authorization server with a protected MCP server, which refuses
// what it must and takes registrations back, until a test changes that.
type issuer struct {
	*httptest.Server
	mu         sync.Mutex
	clients    map[string]string // id to redirect address
	registered int
	asked      []url.Values // of the authorization endpoint
	metadata   string       // more members
	authorize  func(w http.ResponseWriter, q url.Values, known bool) bool
	token      func(w http.ResponseWriter) bool
	register   func(w http.ResponseWriter, redirect string) bool
	status     int
	manage     bool
	created    func(m map[string]any)
}

func newIssuer(t *testing.T) *issuer {
	s := &issuer{clients: map[string]string{}, status: http.StatusCreated, manage: true}
	mux := http.NewServeMux()
	mux.HandleFunc("/mcp", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", resource_metadata="`+s.URL+`/resource", scope="mcp"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	mux.HandleFunc("/resource", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"resource":%q,"authorization_servers":[%q]}`, s.URL+"/mcp", s.URL)
	})
	mux.HandleFunc("/.well-known/oauth-authorization-server", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.ReplaceAll(`{"issuer":"U","authorization_endpoint":"U/authorize?tenant=1","token_endpoint":"U/token","registration_endpoint":"U/register","code_challenge_methods_supported":["S256"],
			"client_id_metadata_document_supported":true,"authorization_response_iss_parameter_supported":true`+s.metadata+`}`, `"U`, `"`+s.URL))
	})
	mux.HandleFunc("GET /authorize", s.authorizes)
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		if s.token == nil || !s.token(w) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_client"}`)
		}
	})
	mux.HandleFunc("POST /register", s.registers)
	mux.HandleFunc("DELETE /register/{id}", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer manage-"+r.PathValue("id") {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		delete(s.clients, r.PathValue("id"))
		w.WriteHeader(http.StatusNoContent)
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *issuer) authorizes(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	s.mu.Lock()
	s.asked = append(s.asked, q)
	redirect, known := s.clients[q.Get("client_id")]
	s.mu.Unlock()
	switch {
	case s.authorize != nil && s.authorize(w, q, known):
	case !known || q.Get("redirect_uri") != redirect:
		http.Error(w, "This client is not known.", http.StatusBadRequest)
	case q.Get("response_type") != "code":
		s.back(w, q, "error=unsupported_response_type&state="+q.Get("state")+"&iss="+url.QueryEscape(s.URL))
	default:
		fmt.Fprint(w, "Sign in.")
	}
}

// back redirects to the address that was asked for.
func (s *issuer) back(w http.ResponseWriter, q url.Values, query string) {
	w.Header().Set("Location", q.Get("redirect_uri")+"?"+query)
	w.WriteHeader(http.StatusFound)
}

func (s *issuer) registers(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Redirects []string `json:"redirect_uris"`
	}
	_ = json.NewDecoder(r.Body).Decode(&in)
	switch redirect := in.Redirects[0]; {
	case s.register != nil && s.register(w, redirect):
	case strings.HasPrefix(redirect, "http://") && !strings.HasPrefix(redirect, "http://127.0.0.1:"):
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"error":"invalid_redirect_uri"}`)
	default:
		s.create(w, redirect)
	}
}

func (s *issuer) create(w http.ResponseWriter, redirect string) {
	s.mu.Lock()
	s.registered++
	id := fmt.Sprintf("client-%d", s.registered)
	s.clients[id] = redirect
	s.mu.Unlock()
	m := map[string]any{"client_id": id, "redirect_uris": []string{redirect}}
	if s.manage {
		m["registration_client_uri"], m["registration_access_token"] = s.URL+"/register/"+id, "manage-"+id
	}
	if s.created != nil {
		s.created(m)
	}
	w.WriteHeader(s.status)
	_ = json.NewEncoder(w).Encode(m)
}

func (s *issuer) examine(t *testing.T, register bool) *report.Report {
	return examineWith(t, checkup.Options{URL: s.URL + "/mcp", Register: register})
}

func (s *issuer) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients)
}

func ids(r *report.Report) (list []string) {
	for _, f := range r.Findings {
		list = append(list, f.ID)
	}
	slices.Sort(list)
	return list
}

func TestSignInOfStrangers(t *testing.T) {
	t.Run("a server that refuses them has no finding but that a sign-in is missing, and nothing is registered", func(t *testing.T) {
		s := newIssuer(t)
		r := s.examine(t, false)
		testkit.Equal(t, ids(r), []string{"auth.sign-in"})
		testkit.Equal(t, []int{s.registered, len(s.asked)}, []int{0, 2})
		q := s.asked[0]
		testkit.Equal(t, []string{q.Get("tenant"), q.Get("resource"), q.Get("code_challenge_method"), q.Get("scope")}, []string{"1", s.URL + "/mcp", "S256", "mcp"})
		testkit.Equal(t, outcome(r, "registration"), report.Outcome{})
	})
	anywhere := func(s *issuer, only string) {
		s.authorize = func(w http.ResponseWriter, q url.Values, known bool) bool {
			if known || !strings.HasPrefix(q.Get("client_id"), only) {
				return false
			}
			s.back(w, q, "error=unauthorized_client")
			return true
		}
	}
	for id, change := range map[string]func(*issuer){
		"auth.open-redirect":   func(s *issuer) { anywhere(s, "headgate") },
		"auth.client-document": func(s *issuer) { anywhere(s, "https://") },
		"auth.endpoint-missing": func(s *issuer) {
			s.authorize = func(w http.ResponseWriter, _ url.Values, _ bool) bool { w.WriteHeader(404); return true }
		},
		"auth.endpoint-fails": func(s *issuer) { s.token = func(w http.ResponseWriter) bool { w.WriteHeader(500); return true } },
		"auth.any-code":       func(s *issuer) { s.token = func(w http.ResponseWriter) bool { fmt.Fprint(w, `{}`); return true } },
		"auth.token-errors": func(s *issuer) {
			s.token = func(w http.ResponseWriter) bool { http.Error(w, "no", 400); return true }
		},
		"auth.endpoint-silent": func(s *issuer) { s.metadata = `,"token_endpoint":"` + strings.TrimSuffix(dead, "/mcp") + `/token"` },
	} {
		t.Run(id+" is found", func(t *testing.T) {
			s := newIssuer(t)
			change(s)
			r := s.examine(t, false)
			found(t, r, id)
			testkit.Equal(t, ids(r), slices.Sorted(slices.Values([]string{"auth.sign-in", id})))
			testkit.Equal(t, r.Status, report.OAuthRequired)
		})
	}
}

func TestRegistration(t *testing.T) {
	t.Run("a server that does it well has no finding, and every client is gone again", func(t *testing.T) {
		s := newIssuer(t)
		r := s.examine(t, true)
		testkit.Equal(t, ids(r), []string{"auth.sign-in"})
		testkit.Equal(t, []int{s.registered, s.left()}, []int{1, 0})
		testkit.Equal(t, outcome(r, "registration"), report.Outcome{ID: "registration", Status: report.OK,
			Detail: "A client was registered, and tried: the registration, a sign-in for this resource, a redirect address of another, an error that comes back, an address without TLS."})
		if text := string(testkit.Must(r.JSON())(t)); strings.Contains(text, "manage-client") {
			t.Error("the report holds the token of a registration")
		}
	})
	answer := func(status int, body string) func(http.ResponseWriter, string) bool {
		return func(w http.ResponseWriter, _ string) bool {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
			return true
		}
	}
	back := func(s *issuer, when func(url.Values) bool, query string) {
		s.authorize = func(w http.ResponseWriter, q url.Values, known bool) bool {
			if !known || !when(q) {
				return false
			}
			s.back(w, q, query)
			return true
		}
	}
	isCode := func(q url.Values) bool {
		return q.Get("response_type") == "code" && strings.HasPrefix(q.Get("redirect_uri"), "http://127.0.0.1")
	}
	isNone := func(q url.Values) bool { return q.Get("response_type") != "code" }
	for id, change := range map[string]func(*issuer){
		"registration.closed":  func(s *issuer) { s.register = answer(401, `{"error":"invalid_token"}`) },
		"registration.fails":   func(s *issuer) { s.register = answer(400, `{"error":"invalid_client_metadata"}`) },
		"registration.silent":  func(s *issuer) { s.metadata = `,"registration_endpoint":"` + dead + `"` },
		"registration.status":  func(s *issuer) { s.status = 200 },
		"registration.changed": func(s *issuer) { s.created = func(m map[string]any) { delete(m, "redirect_uris") } },
		"registration.left":    func(s *issuer) { s.manage = false },
		"registration.resource": func(s *issuer) {
			back(s, isCode, "error=invalid_target&state=headgate-doctor-state")
		},
		"registration.refused": func(s *issuer) { back(s, isCode, "error=unauthorized_client&state=headgate-doctor-state") },
		"registration.redirect-unchecked": func(s *issuer) {
			back(s, func(q url.Values) bool { return strings.Contains(q.Get("redirect_uri"), ".invalid") }, "code=x")
		},
		"registration.no-error": func(s *issuer) { back(s, isNone, "state=headgate-doctor-state&iss="+url.QueryEscape(s.URL)) },
		"registration.state":    func(s *issuer) { back(s, isNone, "error=invalid_request&iss="+url.QueryEscape(s.URL)) },
		"registration.iss":      func(s *issuer) { back(s, isNone, "error=invalid_request&state=headgate-doctor-state") },
		"registration.plain-redirect": func(s *issuer) {
			s.register = func(w http.ResponseWriter, redirect string) bool { s.create(w, redirect); return true }
		},
	} {
		t.Run(id+" is found, and no client stays that could be taken back", func(t *testing.T) {
			s := newIssuer(t)
			change(s)
			r := s.examine(t, true)
			found(t, r, id)
			testkit.Equal(t, ids(r), []string{"auth.sign-in", id})
			if s.manage && s.left() != 0 {
				t.Errorf("left behind: %v", s.clients)
			}
		})
	}
	t.Run("what stays behind is named", func(t *testing.T) {
		s := newIssuer(t)
		s.manage = false
		testkit.Equal(t, findings(s.examine(t, true))["registration.left"].Subjects, []string{"client-1"})
	})
	t.Run("a server that has given its time away takes the client back all the same", func(t *testing.T) {
		s := newIssuer(t)
		s.authorize = func(_ http.ResponseWriter, q url.Values, known bool) bool {
			if known {
				<-time.After(300 * time.Millisecond)
			}
			return false
		}
		examineWith(t, checkup.Options{URL: s.URL + "/mcp", Register: true, Patience: 250 * time.Millisecond})
		testkit.Equal(t, s.left(), 0)
	})
	t.Run("where nobody can register, that is said", func(t *testing.T) {
		s := newIssuer(t)
		s.metadata = `,"registration_endpoint":""`
		testkit.Equal(t, outcome(s.examine(t, true), "registration").Status, report.Skipped)
	})
}
