package upstream_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
)

// modern makes a script answer discover; extra are further members of the result.
func (s *script) modern(extra string) *script {
	return s.on(mcp.MethodDiscover, func(w http.ResponseWriter, _ *http.Request, m message) bool {
		respond(w, m.ID, `{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{},"resources":{},"prompts":{}}`+extra+`}`)
		return true
	})
}

func names(l *upstream.Listing) (out []string) {
	for _, i := range l.Items {
		out = append(out, i.Name)
	}
	return out
}

func TestLists(t *testing.T) {
	t.Run("are read whole, page by page, each item as the server wrote it", func(t *testing.T) {
		for _, era := range []catalog.Era{catalog.Legacy, catalog.Modern} {
			u := newScript(t).modern("").on("tools/list", func(w http.ResponseWriter, _ *http.Request, m message) bool {
				switch m.Params.Cursor {
				case "":
					respond(w, m.ID, `{"tools":[ {"name":"a", "x":9007199254740993,"readOnlyHint":false} ],"nextCursor":"p\"2"}`)
				case `p"2`:
					respond(w, m.ID, `{"tools":[{"name":"b"}]}`)
				}
				return true
			})
			h, s := newHub(t), serverAt(u.URL)
			s.Era = era
			l := testkit.Must(h.List(t.Context(), s, ann, upstream.Tools))(t)
			testkit.Equal(t, names(l), []string{"a", "b"})
			a, _ := l.Find("a")
			testkit.Equal(t, string(a.Raw), `{"name":"a", "x":9007199254740993,"readOnlyHint":false}`)
		}
	})
	t.Run("what the server does not have is empty and not asked for", func(t *testing.T) {
		u := newScript(t).on("initialize", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			respond(w, m.ID, `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}}}`)
			return true
		})
		u.on("tools/list", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			respond(w, m.ID, `{"tools":[]}`)
			return true
		})
		h, s := newHub(t), serverAt(u.URL)
		s.Era = catalog.Legacy
		for _, kind := range []upstream.ListKind{upstream.Tools, upstream.Resources, upstream.Templates, upstream.Prompts} {
			testkit.Equal(t, len(testkit.Must(h.List(t.Context(), s, ann, kind))(t).Items), 0)
		}
		testkit.Equal(t, u.count("resources/list")+u.count("prompts/list")+u.count("resources/templates/list"), 0)
	})
	t.Run("resources are found by URI, templates by theirs", func(t *testing.T) {
		u := newScript(t).modern("")
		u.on("resources/list", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			respond(w, m.ID, `{"resources":[{"uri":"file:///a","name":"A"},{"name":"no uri"}]}`)
			return true
		}).on("resources/templates/list", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			respond(w, m.ID, `{"resourceTemplates":[{"uriTemplate":"file:///{x}","name":"X"}]}`)
			return true
		})
		h, s := newHub(t), serverAt(u.URL)
		l := testkit.Must(h.List(t.Context(), s, ann, upstream.Resources))(t)
		if i, ok := l.Find("file:///a"); !ok || i.Name != "A" || l.Skipped != 1 {
			t.Errorf("got %+v", l)
		}
		if i, ok := testkit.Must(h.List(t.Context(), s, ann, upstream.Templates))(t).Find("file:///{x}"); !ok || i.Name != "X" {
			t.Errorf("got %+v", i)
		}
	})
	t.Run("poisoned entries cost only themselves", func(t *testing.T) {
		bad := []string{`1`, `null`, `"a"`, `[]`, `{}`, `{"name":1}`, `{"name":""}`, `{"name":"a\u0000b"}`, `{"name":"a\nb"}`, `{"name":"good"}`,
			`{"name":"` + strings.Repeat("n", 300) + `"}`, `{"name":"big","description":"` + strings.Repeat("d", 2<<20) + `"}`,
			`{"name":"headers","inputSchema":{"type":"object","properties":{"a":{"type":"object","x-mcp-header":"A"}}}}`}
		u := newScript(t).modern("").on("tools/list", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			respond(w, m.ID, `{"tools":[{"name":"good"},`+strings.Join(bad, ",")+`,{"name":"last"}]}`)
			return true
		})
		h, s := newHub(t), serverAt(u.URL)
		l := testkit.Must(h.List(t.Context(), s, ann, upstream.Tools))(t)
		testkit.Equal(t, names(l), []string{"good", "last"})
		testkit.Equal(t, l.Skipped, len(bad))
	})
}

func TestListCache(t *testing.T) {
	type bench struct {
		*script
		h     *upstream.Hub
		s     *catalog.Server
		asked func() int
		mu    sync.Mutex
		tools string
		fail  bool
		now   time.Time
		told  atomic.Int64
	}
	start := func(t *testing.T, extra string) *bench {
		b := &bench{script: newScript(t).modern(""), tools: `{"name":"a"}`, now: time.Now()}
		b.on("tools/list", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			if b.fail {
				w.WriteHeader(500)
				return true
			}
			respond(w, m.ID, `{"tools":[`+b.tools+`]`+extra+`}`)
			return true
		})
		b.h = newHub(t, func(o *upstream.Options) {
			o.Now = func() time.Time { b.mu.Lock(); defer b.mu.Unlock(); return b.now }
			o.Changed = func(string, upstream.ListKind) { b.told.Add(1) }
		})
		b.s = serverAt(b.URL)
		b.asked = func() int { return b.count("tools/list") }
		return b
	}
	set := func(b *bench, change func()) { b.mu.Lock(); defer b.mu.Unlock(); change() }
	list := func(t *testing.T, b *bench) *upstream.Listing {
		t.Helper()
		return testkit.Must(b.h.List(t.Context(), b.s, ann, upstream.Tools))(t)
	}
	t.Run("parallel askers share one fetch, later ones the memory", func(t *testing.T) {
		b := start(t, "")
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				if _, err := b.h.List(t.Context(), b.s, ann, upstream.Tools); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		testkit.Equal(t, b.asked(), 1)
	})
	t.Run("an old list stands in while a new one is fetched, and the change is told", func(t *testing.T) {
		b := start(t, `,"ttlMs":60000`)
		first := list(t, b)
		set(b, func() { b.now, b.tools = b.now.Add(2*time.Minute), `{"name":"b"}` })
		if l := list(t, b); l != first {
			t.Error("the old list did not stand in")
		}
		eventually(t, "the new one is there", func() bool { return list(t, b).Version != first.Version })
		testkit.Equal(t, b.told.Load(), int64(1))
	})
	t.Run("the same list again keeps its version", func(t *testing.T) {
		b := start(t, `,"ttlMs":60000`)
		first := list(t, b)
		set(b, func() { b.now = b.now.Add(2 * time.Minute) })
		list(t, b)
		eventually(t, "it was fetched again", func() bool { l := list(t, b); return l != first && l.Version == first.Version })
		testkit.Equal(t, b.told.Load(), int64(0))
	})
	t.Run("list_changed during a call makes it old at once, told once", func(t *testing.T) {
		b := start(t, "")
		b.on("tools/call", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			send := events(w)
			for range 5 {
				send(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
			}
			send(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":{"content":[{"type":"text","text":"x"}]}}`)
			return true
		})
		list(t, b)
		set(b, func() { b.tools = `{"name":"new"}` })
		text(t, testkit.Must(b.h.Exchange(t.Context(), call(b.s, mcp.LatestModern, "1", "x", `{}`), nil))(t))
		testkit.Equal(t, names(list(t, b)), []string{"new"})
		testkit.Equal(t, b.told.Load(), int64(1))
	})
	t.Run("a failing server is not asked again at once, and not waited for", func(t *testing.T) {
		b := start(t, "")
		b.fail = true
		for range 10 {
			_, err := b.h.List(t.Context(), b.s, ann, upstream.Tools)
			testkit.Fault(t, err, "upstream.failed")
		}
		testkit.Equal(t, b.asked(), 1)
		set(b, func() { b.now, b.fail = b.now.Add(3*time.Second), false })
		testkit.Equal(t, names(list(t, b)), []string{"a"})
	})
	t.Run("what one set of credentials saw is not told another", func(t *testing.T) {
		u := newScript(t).modern("").on("tools/list", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			respond(w, m.ID, `{"tools":[]}`)
			return true
		})
		h, s := newHub(t, func(o *upstream.Options) { o.Binder = perUser{} }), serverAt(u.URL)
		for _, by := range []*access.Principal{ann, {ID: "bob"}, ann} {
			testkit.Must(h.List(t.Context(), s, by, upstream.Tools))(t)
		}
		testkit.Equal(t, u.count("tools/list"), 2)
	})
}

func TestMirroredHeaders(t *testing.T) {
	var got http.Header
	u := newScript(t).modern("").on("tools/list", func(w http.ResponseWriter, _ *http.Request, m message) bool {
		respond(w, m.ID, `{"tools":[{"name":"t","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"n":{"type":"integer","x-mcp-header":"N"},"none":{"type":"string","x-mcp-header":"None"}}}}]}`)
		return true
	}).on("tools/call", func(w http.ResponseWriter, r *http.Request, m message) bool {
		got = r.Header
		respond(w, m.ID, `{"content":[{"type":"text","text":"x"}]}`)
		return true
	})
	h, s := newHub(t), serverAt(u.URL)
	testkit.Must(h.List(t.Context(), s, ann, upstream.Tools))(t)
	header := func(name string) string { return got.Get(name) }
	t.Run("are made from the arguments where the caller sent none", func(t *testing.T) {
		text(t, testkit.Must(h.Exchange(t.Context(), call(s, mcp.LatestModern, "1", "t", `{"region":"Zürich","n":42}`), nil))(t))
		testkit.Equal(t, header("Mcp-Param-Region"), mcp.EncodeHeader("Zürich"))
		testkit.Equal(t, header("Mcp-Param-N"), "42")
		testkit.Equal(t, len(got.Values("Mcp-Param-None")), 0)
	})
	t.Run("are passed on as they are where it sent some", func(t *testing.T) {
		r := call(s, mcp.LatestModern, "1", "t", `{"region":"x"}`)
		r.Params = []upstream.Param{{Name: "Region", Value: "x"}, {Name: "Unknown", Value: "y"}}
		text(t, testkit.Must(h.Exchange(t.Context(), r, nil))(t))
		testkit.Equal(t, []string{header("Mcp-Param-Region"), header("Mcp-Param-Unknown")}, []string{"x", "y"})
	})
	t.Run("method, name and version always come from the request", func(t *testing.T) {
		r := call(s, mcp.LatestModern, "1", "größe", `{}`)
		text(t, testkit.Must(h.Exchange(t.Context(), r, nil))(t))
		testkit.Equal(t, []string{header("Mcp-Method"), header("Mcp-Name"), header("MCP-Protocol-Version")}, []string{"tools/call", mcp.EncodeHeader("größe"), "2026-07-28"})
	})
}

func TestBreaker(t *testing.T) {
	var mu sync.Mutex
	now, broken := time.Now(), true
	u := newScript(t).on("tools/call", func(w http.ResponseWriter, _ *http.Request, m message) bool {
		mu.Lock()
		defer mu.Unlock()
		if broken {
			w.WriteHeader(500)
			return true
		}
		respond(w, m.ID, `{"content":[{"type":"text","text":"x"}]}`)
		return true
	})
	h := newHub(t, func(o *upstream.Options) { o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return now } })
	s := serverAt(u.URL)
	s.Era = catalog.Modern
	wait := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	try := func() error {
		a, err := h.Exchange(t.Context(), call(s, mcp.LatestModern, "1", "x", `{}`), nil)
		a.Release()
		return err
	}
	t.Run("five failures in a row open it", func(t *testing.T) {
		for range 5 {
			testkit.Fault(t, try(), "upstream.failed")
		}
		testkit.Fault(t, try(), "upstream.circuit_open")
		testkit.Equal(t, u.count("tools/call"), 5)
	})
	t.Run("others are not concerned", func(t *testing.T) {
		other := &catalog.Server{ID: "srv_other", Transport: catalog.HTTP, URL: u.URL, Era: catalog.Modern, Timeout: time.Second}
		_, err := h.Exchange(t.Context(), call(other, mcp.LatestModern, "1", "x", `{}`), nil)
		testkit.Fault(t, err, "upstream.failed")
	})
	t.Run("health tells", func(t *testing.T) {
		last, ok := h.Health(s)
		if !ok || !last.Open || last.Code != "upstream.failed" || last.Status != 500 {
			t.Errorf("got %+v", last)
		}
	})
	t.Run("after a rest one probe goes through, and its failure doubles the rest", func(t *testing.T) {
		before := u.count("tools/call")
		wait(11 * time.Second)
		testkit.Fault(t, try(), "upstream.failed")
		wait(11 * time.Second)
		testkit.Fault(t, try(), "upstream.circuit_open")
		testkit.Equal(t, u.count("tools/call"), before+1)
	})
	t.Run("a probe that works closes it", func(t *testing.T) {
		mu.Lock()
		broken = false
		mu.Unlock()
		wait(10 * time.Second)
		for range 3 {
			testkit.Must0(t, try())
		}
		if last, _ := h.Health(s); last.Open || last.Code != "" {
			t.Errorf("got %+v", last)
		}
	})
	t.Run("those that were under way when it opened do not lengthen the rest", func(t *testing.T) {
		release, arrived := make(chan struct{}), make(chan struct{}, 20)
		u.on("tools/call", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			if m.Params.Name == "wait" {
				arrived <- struct{}{}
				<-release
				w.WriteHeader(500)
				return true
			}
			return false
		})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { _, _ = h.Exchange(t.Context(), call(s, mcp.LatestModern, "1", "wait", `{}`), nil) })
		}
		for range 20 {
			<-arrived
		}
		close(release)
		wg.Wait()
		testkit.Fault(t, try(), "upstream.circuit_open")
		wait(11 * time.Second)
		testkit.Must0(t, try())
	})
	t.Run("refusals of single requests do not open it", func(t *testing.T) {
		u.on("tools/call", func(w http.ResponseWriter, _ *http.Request, _ message) bool { w.WriteHeader(403); return true })
		for range 20 {
			testkit.Fault(t, try(), "upstream.rejected")
		}
	})
}

func TestTest(t *testing.T) {
	u := newScript(t).modern("").on("tools/list", func(w http.ResponseWriter, _ *http.Request, m message) bool {
		respond(w, m.ID, `{"tools":[{"name":"a"}]}`)
		return true
	})
	h, s := newHub(t), serverAt(u.URL)
	for range 2 {
		f, l, err := h.Test(t.Context(), s, ann)
		testkit.Must0(t, err)
		if f.Era != mcp.Modern || len(l.Items) != 1 {
			t.Errorf("got %+v %+v", f, l)
		}
	}
	testkit.Equal(t, u.count("tools/list"), 2)
	testkit.Equal(t, u.count(mcp.MethodDiscover), 2)
}
