package bridge_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/cli/bridge"
)

const patience = 5 * time.Second

// server is an MCP endpoint that a test scripts.
type server struct {
	*httptest.Server
	mu   sync.Mutex
	seen []*exchange
}

type exchange struct {
	method string
	header http.Header
	body   string
}

func newServer(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, body string)) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		s.seen = append(s.seen, &exchange{r.Method, r.Header.Clone(), string(body)})
		s.mu.Unlock()
		answer(w, r, string(body))
	}))
	t.Cleanup(s.Close)
	return s
}

// of returns what the server saw that contains a text.
func (s *server) of(text string) []*exchange {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(func(yield func(*exchange) bool) {
		for _, e := range s.seen {
			if strings.Contains(e.method+" "+e.body, text) && !yield(e) {
				return
			}
		}
	})
}

// client is the program on the other side of the pipes.
type client struct {
	t     *testing.T
	in    *io.PipeWriter
	lines chan string
	done  chan error
	log   *strings.Builder
	logs  sync.Mutex
}

func start(t *testing.T, url string) *client {
	t.Helper()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	c := &client{t: t, in: inW, lines: make(chan string, 100), done: make(chan error, 1), log: &strings.Builder{}}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(outR); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	go func() {
		err := bridge.Run(ctx, bridge.Options{
			URL: url, In: inR, Out: outW, HTTP: bridge.NewHTTP(), UserAgent: "test",
			Credential: func(context.Context) (string, error) { return "the-key", nil },
			Log: func(format string, args ...any) {
				c.logs.Lock()
				defer c.logs.Unlock()
				fmt.Fprintf(c.log, format+"\n", args...)
			},
		})
		_ = outW.Close()
		c.done <- err
	}()
	t.Cleanup(func() {
		cancel()
		_ = inW.Close()
		for range c.lines { // the bridge may be writing
		}
	})
	return c
}

func (c *client) send(message string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, message+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) next() string {
	c.t.Helper()
	select {
	case line := <-c.lines:
		return line
	case <-time.After(patience):
		c.t.Fatal("no line came")
		return ""
	}
}

func (c *client) expect(want string) {
	c.t.Helper()
	if got := c.next(); got != want {
		c.t.Fatalf("got  %s\nwant %s", got, want)
	}
}

// close ends the input and waits for the bridge.
func (c *client) close() {
	c.t.Helper()
	_ = c.in.Close()
	select {
	case err := <-c.done:
		if err != nil {
			c.t.Fatal(err)
		}
	case <-time.After(patience):
		c.t.Fatal("the bridge did not end with its input")
	}
}

func answerJSON(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

func methodOf(body string) (method string, id json.RawMessage) {
	var m struct {
		Method string          `json:"method"`
		ID     json.RawMessage `json:"id"`
	}
	_ = json.Unmarshal([]byte(body), &m)
	return m.Method, m.ID
}

const (
	initialize  = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
	initialized = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	welcome     = `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}`
	listTools   = `{"jsonrpc":"2.0","id":7,"method":"tools/list"}`
	noTools     = `{"jsonrpc":"2.0","id":7,"result":{"tools":[]}}`
)

// legacy answers as a server with sessions does; other gets what is left.
func legacy(other func(w http.ResponseWriter, r *http.Request, body string)) func(http.ResponseWriter, *http.Request, string) {
	var mu sync.Mutex
	sessions := 0
	return func(w http.ResponseWriter, r *http.Request, body string) {
		method, id := methodOf(body)
		switch {
		case method == "initialize":
			mu.Lock()
			sessions++
			w.Header().Set("Mcp-Session-Id", fmt.Sprintf("session-%d", sessions))
			mu.Unlock()
			answerJSON(w, 200, fmt.Sprintf(welcome, id))
		case strings.HasPrefix(method, "notifications/"), r.Method == "DELETE":
			w.WriteHeader(202)
		case r.Method == "GET" && other == nil:
			w.WriteHeader(405)
		default:
			other(w, r, body)
		}
	}
}

func handshake(c *client) {
	c.t.Helper()
	c.send(initialize)
	c.expect(fmt.Sprintf(welcome, "0"))
	c.send(initialized)
}

func TestLegacy(t *testing.T) {
	t.Run("carries the session, the revision and the credential, and ends the session", func(t *testing.T) {
		s := newServer(t, legacy(func(w http.ResponseWriter, r *http.Request, _ string) {
			if r.Method == "GET" {
				w.WriteHeader(405)
				return
			}
			answerJSON(w, 200, noTools)
		}))
		c := start(t, s.URL)
		handshake(c)
		c.send(listTools)
		c.expect(noTools)
		c.close()
		first, list := s.of(`"initialize"`)[0], s.of("tools/list")[0]
		if first.header.Get("Mcp-Session-Id") != "" || first.header.Get("Mcp-Protocol-Version") != "" {
			t.Errorf("initialize came with %v", first.header)
		}
		for name, want := range map[string]string{
			"Mcp-Session-Id": "session-1", "Mcp-Protocol-Version": "2025-11-25", "Authorization": "Bearer the-key", "User-Agent": "test",
			"Accept": "application/json, text/event-stream", "Content-Type": "application/json", "Mcp-Method": "",
		} {
			if got := list.header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if end := s.of("DELETE"); len(end) != 1 || end[0].header.Get("Mcp-Session-Id") != "session-1" {
			t.Errorf("the session was not ended: %v", end)
		}
	})
	t.Run("events become lines, and the server's questions are answered", func(t *testing.T) {
		answered := make(chan string, 1)
		s := newServer(t, legacy(func(w http.ResponseWriter, r *http.Request, body string) {
			method, _ := methodOf(body)
			switch {
			case r.Method == "GET":
				w.WriteHeader(405)
			case method == "":
				answered <- body
				w.WriteHeader(202)
			default:
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, ": hello\n\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\ndata: \"method\":\"notifications/progress\",\"params\":{\"progressToken\":1,\"progress\":1}}\n\n"+
					"data: {\"jsonrpc\":\"2.0\",\"id\":\"q\",\"method\":\"roots/list\"}\n\n")
				_ = http.NewResponseController(w).Flush()
				<-answered
				_, _ = io.WriteString(w, "data: "+noTools+"\n\n")
			}
		}))
		c := start(t, s.URL)
		handshake(c)
		c.send(listTools)
		c.expect(`{"jsonrpc":"2.0", "method":"notifications/progress","params":{"progressToken":1,"progress":1}}`)
		c.expect(`{"jsonrpc":"2.0","id":"q","method":"roots/list"}`)
		c.send(`{"jsonrpc":"2.0","id":"q","result":{"roots":[]}}`)
		c.expect(noTools)
	})
	t.Run("a lost session is opened again, once for all who need it", func(t *testing.T) {
		s := newServer(t, legacy(func(w http.ResponseWriter, r *http.Request, body string) {
			_, id := methodOf(body)
			switch {
			case r.Method == "GET":
				w.WriteHeader(405)
			case r.Header.Get("Mcp-Session-Id") == "session-1":
				answerJSON(w, 404, `{"jsonrpc":"2.0","error":{"code":-32001,"message":"gone"}}`)
			default:
				answerJSON(w, 200, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[]}}`, id))
			}
		}))
		c := start(t, s.URL)
		handshake(c)
		const n = 8
		for i := range n {
			c.send(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/list"}`, i))
		}
		got := map[string]bool{}
		for range n {
			got[c.next()] = true
		}
		for i := range n {
			if want := fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":{"tools":[]}}`, i); !got[want] {
				t.Errorf("no %s among %v", want, got)
			}
		}
		if opened := len(s.of(`"initialize"`)); opened != 2 {
			t.Errorf("initialized %d times", opened)
		}
		if told := len(s.of("notifications/initialized")); told != 2 {
			t.Errorf("told the server %d times that it is initialized", told)
		}
	})
	t.Run("what the server says unasked arrives", func(t *testing.T) {
		changed := `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
		s := newServer(t, legacy(func(w http.ResponseWriter, r *http.Request, _ string) {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "id: 1\ndata: "+changed+"\n\n")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}))
		c := start(t, s.URL)
		handshake(c)
		c.expect(changed)
		c.close()
	})
	t.Run("a cancellation is passed on", func(t *testing.T) {
		cancelled := make(chan struct{})
		next := legacy(func(w http.ResponseWriter, r *http.Request, _ string) {
			if r.Method == "GET" {
				w.WriteHeader(405)
				return
			}
			<-cancelled
			answerJSON(w, 200, noTools)
		})
		s := newServer(t, func(w http.ResponseWriter, r *http.Request, body string) {
			if strings.Contains(body, "notifications/cancelled") {
				close(cancelled)
			}
			next(w, r, body)
		})
		c := start(t, s.URL)
		handshake(c)
		c.send(listTools)
		c.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`)
		c.expect(noTools)
	})
}
