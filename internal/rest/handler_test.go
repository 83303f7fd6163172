package rest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"headgate/internal/access"
	"headgate/internal/rest"
	"headgate/internal/testkit"
)

type rawUpload struct {
	RawBody []byte `contentType:"text/csv"`
}

type note struct {
	Text string `json:"text"`
}

// TestHandlers is what a handler may do besides answering.
func TestHandlers(t *testing.T) {
	d := rest.New(rest.Config{Base: "/x", Title: "x", Version: "1", Form: rest.PlatformForm(nil),
		Authenticate: func(_ *http.Request, c rest.Credential) (*access.Principal, error) {
			return &access.Principal{Kind: access.OrganizationKey, ID: c.Value, Organization: "org_1"}, nil
		}})
	op := func(method, path, id string) rest.Op {
		return rest.Op{Method: method, Path: path, ID: id, Summary: id, Guard: rest.AnyPrincipal}
	}
	rest.Handle(d, op("POST", "/made", "make"), func(ctx ctx, _ *rest.None) (*note, error) {
		rest.SetHeader(ctx, "Location", "/x/made/1")
		rest.SetCookie(ctx, &http.Cookie{Name: "__Host-session", Value: "v", Path: "/", Secure: true, HttpOnly: true})
		return &note{rest.CurrentOp(ctx).ID + " " + rest.RequestID(ctx)[:4] + " " + rest.Principal(ctx).ID}, nil
	})
	rest.Handle(d, op("POST", "/csv", "upload"), func(_ ctx, in *rawUpload) (*note, error) { return &note{string(in.RawBody)}, nil })
	only := op("GET", "/only", "only")
	only.Audience = []access.Kind{access.Session}
	rest.Handle(d, only, func(ctx, *rest.None) (*rest.None, error) { return nil, nil })
	rest.Handle(d, op("GET", "/lists", "lists"), func(ctx, *rest.None) (*lists, error) {
		return &lists{Inner: []lists{{}}, Pointer: &lists{}}, nil
	})
	rest.Handle(d, op("GET", "/forgot", "forgot"), func(ctx, *rest.None) (*note, error) { return nil, nil })
	rest.Handle(d, op("GET", "/field", "field"), func(ctx, *rest.None) (*note, error) {
		return nil, rest.Invalid(rest.Problem{Field: "body.config.url", Message: "must be https"})
	})
	rest.Stream(d, op("GET", "/stream", "stream"), "text/plain", func(ctx, *rest.None) (func(http.ResponseWriter), error) {
		return func(w http.ResponseWriter) {
			_, _ = io.WriteString(w, "a")
			w.(http.Flusher).Flush()
		}, nil
	})
	testkit.Must0(t, d.Check())
	send := func(method, path, contentType, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer me")
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		w := httptest.NewRecorder()
		d.ServeHTTP(w, r)
		return w
	}
	t.Run("it knows its operation, request and principal, and sets headers and cookies", func(t *testing.T) {
		w := send("POST", "/x/made", "", "")
		testkit.Equal(t, w.Body.String(), `{"text":"make req_ me"}`+"\n")
		testkit.Equal(t, w.Header().Get("Location"), "/x/made/1")
		testkit.Equal(t, w.Header().Get("Set-Cookie"), "__Host-session=v; Path=/; HttpOnly; Secure")
	})
	t.Run("it may take another type whole", func(t *testing.T) {
		testkit.Equal(t, send("POST", "/x/csv", "text/csv", "a,b\n1,2").Body.String(), `{"text":"a,b\n1,2"}`+"\n")
		wantFailure(t, send("POST", "/x/csv", "application/json", "{}"), 415, "UNSUPPORTED_MEDIA_TYPE")
	})
	t.Run("another kind of principal than its audience is refused", func(t *testing.T) {
		wantFailure(t, send("GET", "/x/only", "", ""), 403, "AUTH_INSUFFICIENT_SCOPE")
	})
	t.Run("no list is null, however deep, but bytes and absent ones stay", func(t *testing.T) {
		const empty = `{"a":[],"b":null,"c":{},"inner":[],"pointer":null}`
		testkit.Equal(t, send("GET", "/x/lists", "", "").Body.String(), `{"a":[],"b":null,"c":{},"inner":[`+empty+`],"pointer":`+empty+"}\n")
	})
	t.Run("neither an answer nor an error is a bug of ours", func(t *testing.T) {
		wantFailure(t, send("GET", "/x/forgot", "", ""), 500, "INTERNAL_SERVER_ERROR")
	})
	t.Run("it can name a field that is wrong", func(t *testing.T) {
		f := wantFailure(t, send("GET", "/x/field", "", ""), 400, "VALIDATION_ERROR")
		testkit.Equal(t, string(f.Error.Details), `{"fields":[{"field":"body.config.url","message":"must be https"}]}`)
	})
	t.Run("a stream can flush", func(t *testing.T) {
		if w := send("GET", "/x/stream", "", ""); !w.Flushed || w.Body.String() != "a" {
			t.Errorf("%v %s", w.Flushed, w.Body)
		}
	})
}

type lists struct {
	A       []string    `json:"a"`
	B       []byte      `json:"b"`
	C       rest.Object `json:"c"`
	Absent  []string    `json:"absent,omitzero"`
	Inner   []lists     `json:"inner"`
	Pointer *lists      `json:"pointer"`
}

func TestPage(t *testing.T) {
	for _, c := range []struct {
		page, limit, offset int
		total, pages        int64
	}{{1, 20, 0, 0, 0}, {1, 20, 0, 1, 1}, {3, 20, 40, 60, 3}, {3, 20, 40, 61, 4}} {
		p := rest.Page{Page: c.page, Limit: c.limit}
		testkit.Equal(t, p.Of(c.total).Pagination, rest.Pagination{Total: c.total, Page: c.page, Limit: c.limit, Pages: c.pages})
		testkit.Equal(t, p.Offset(), c.offset)
	}
}
