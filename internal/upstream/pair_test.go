package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/catalog"
	hg "headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
	"headgate/internal/upstream/wire"
)

// pairServer is a server of 2024-11-05, by the official SDK.
func pairServer(t testing.TB) (url string, server *mcp.Server) {
	t.Helper()
	s := mcp.NewServer(&mcp.Implementation{Name: "old", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "echo"}, func(ctx context.Context, r *mcp.CallToolRequest, in struct {
		Text  string `json:"text"`
		Steps int    `json:"steps,omitempty"`
	}) (*mcp.CallToolResult, any, error) {
		for i := range in.Steps {
			_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: float64(i + 1)})
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: in.Text}}}, nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "sample"}, func(ctx context.Context, r *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		m, err := r.Session.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 1})
		if err != nil {
			return nil, nil, err
		}
		return &mcp.CallToolResult{Content: []mcp.Content{m.Content}}, nil, nil
	})
	h := httptest.NewServer(mcp.NewSSEHandler(func(*http.Request) *mcp.Server { return s }, nil))
	t.Cleanup(func() {
		h.CloseClientConnections()
		h.Close()
	})
	return h.URL + "/sse", s
}

func pairHub(t testing.TB) *upstream.Hub {
	t.Helper()
	pairs := upstream.NewPairs(new(net.Dialer).DialContext, wire.Options{})
	t.Cleanup(pairs.Close)
	return newHub(t, func(o *upstream.Options) { o.Channels = map[catalog.Transport]upstream.Channel{catalog.SSE: pairs} })
}

func TestPairs(t *testing.T) {
	for _, transport := range []catalog.Transport{catalog.SSE, catalog.HTTP} {
		t.Run("a server of 2024-11-05 is like any other, when it is registered as "+string(transport), func(t *testing.T) {
			url, server := pairServer(t)
			h, s := pairHub(t), serverAt(url)
			s.Transport = transport
			f := testkit.Must(h.Eras(t.Context(), s, ann, hg.Modern))(t)
			testkit.Equal(t, f.Era, hg.Legacy)
			l := testkit.Must(h.List(t.Context(), s, ann, upstream.Tools))(t)
			testkit.Equal(t, len(l.Items), 2)
			_, err := h.Exchange(t.Context(), call(s, hg.LatestModern, "1", "echo", `{}`), nil)
			testkit.Fault(t, err, "upstream.era")

			var wg sync.WaitGroup
			for i := range 50 {
				for _, affinity := range []string{"", "own"} {
					wg.Go(func() {
						nonce := fmt.Sprintf("n%d%s", i, affinity)
						r := call(s, hg.LatestLegacy, fmt.Sprint(i), "echo", fmt.Sprintf(`{"text":%q}`, nonce))
						r.Affinity = affinity
						a, err := h.Exchange(t.Context(), r, nil)
						if err != nil {
							t.Error(err)
							return
						}
						if got := text(t, a); got != nonce {
							t.Errorf("%s got %s", nonce, got)
						}
					})
				}
			}
			wg.Wait()

			t.Run("with progress", func(t *testing.T) {
				r := call(s, hg.LatestLegacy, "1", "echo", `{"text":"x","steps":3}`)
				r.Body = []byte(strings.Replace(string(r.Body), `"arguments"`, `"_meta":{"progressToken":"p"},"arguments"`, 1))
				steps := 0
				a := testkit.Must(h.Exchange(t.Context(), r, sinkFunc(func(m []byte, e *hg.Envelope) error {
					if e.Method == hg.NotifyProgress && string(e.Progress.Of(m)) == `"p"` {
						steps++
					}
					return nil
				})))(t)
				a.Release()
				testkit.Equal(t, steps, 3)
			})
			t.Run("with requests of its own", func(t *testing.T) {
				r := call(s, hg.LatestLegacy, "1", "sample", `{}`)
				r.Affinity, r.Client.Capabilities = "asks", []byte(`{"sampling":{}}`)
				a := testkit.Must(h.Exchange(t.Context(), r, sinkFunc(func(m []byte, e *hg.Envelope) error {
					if e.Kind != hg.Request {
						return nil
					}
					reply := hg.AppendResult(nil, e.ID.Of(m), []byte(`{"role":"assistant","model":"m","content":{"type":"text","text":"sampled"}}`))
					go func() { _ = h.Reply(context.Background(), r, reply) }()
					return nil
				})))(t)
				testkit.Equal(t, text(t, a), "sampled")
			})
			t.Run("and says when its lists change", func(t *testing.T) {
				var l heard
				defer testkit.Must(h.WatchLists(t.Context(), s, ann, l.tell))(t)()
				server.RemoveTools("sample")
				eventually(t, "it is heard", func() bool { return l.count(hg.NotifyToolsChanged) > 0 })
			})
		})
	}
	t.Run("a stream that breaks fails its calls, and the next one opens another", func(t *testing.T) {
		url, _ := pairServer(t)
		h, s := pairHub(t), serverAt(url)
		s.Transport = catalog.SSE
		a := testkit.Must(h.Exchange(t.Context(), call(s, hg.LatestLegacy, "1", "echo", `{"text":"x"}`), nil))(t)
		a.Release()
		eventually(t, "it works again", func() bool {
			a, err := h.Exchange(t.Context(), call(s, hg.LatestLegacy, "1", "echo", `{"text":"x"}`), nil)
			a.Release()
			return err == nil
		})
	})
	t.Run("an address of another origin gets nothing", func(t *testing.T) {
		var hits int
		other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits++ }))
		defer other.Close()
		bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "event: endpoint\ndata: %s/take\n\n", other.URL)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}))
		defer func() { bad.CloseClientConnections(); bad.Close() }()
		h, s := pairHub(t), serverAt(bad.URL)
		s.Transport = catalog.SSE
		_, err := h.Exchange(t.Context(), call(s, hg.LatestLegacy, "1", "echo", `{}`), nil)
		if err == nil || hits != 0 {
			t.Errorf("%v, %d hits", err, hits)
		}
	})
	t.Run("a refusal keeps its status", func(t *testing.T) {
		no := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", `Bearer resource_metadata="x"`)
			w.WriteHeader(401)
		}))
		defer no.Close()
		h, s := pairHub(t), serverAt(no.URL)
		s.Transport = catalog.SSE
		_, err := h.Exchange(t.Context(), call(s, hg.LatestLegacy, "1", "echo", `{}`), nil)
		testkit.Fault(t, err, "upstream.auth")
		var c *upstream.Challenge
		if !errors.As(err, &c) || !strings.Contains(c.Header, "resource_metadata") {
			t.Errorf("%v", err)
		}
	})
	t.Run("nothing is left behind", func(t *testing.T) {
		url, _ := pairServer(t)
		leakFree(t, func() {
			pairs := upstream.NewPairs(new(net.Dialer).DialContext, wire.Options{})
			h := upstream.NewHub(upstream.Options{Binder: shared{}, Channels: map[catalog.Transport]upstream.Channel{catalog.SSE: pairs}})
			s := serverAt(url)
			s.Transport = catalog.SSE
			for i := range 20 {
				r := call(s, hg.LatestLegacy, "1", "echo", `{"text":"x"}`)
				r.Affinity = fmt.Sprint(i)
				a := testkit.Must(h.Exchange(t.Context(), r, nil))(t)
				a.Release()
			}
			h.Close(t.Context())
			pairs.Close()
		})
	})
}
