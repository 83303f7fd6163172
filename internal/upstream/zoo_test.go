package upstream_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/fault"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
	"headgate/internal/upstream"
)

// animal is one way to misbehave: it has read a request with an id and does
// what it likes with the connection.
type animal func(c net.Conn, id string)

// zoo is a raw server that misbehaves by the name of the tool.
func zoo(t testing.TB, animals map[string]animal) string {
	t.Helper()
	l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { defer c.Close(); keep(c, animals) })
		}
	})
	return "http://" + l.Addr().String() + "/mcp"
}

func keep(c net.Conn, animals map[string]animal) {
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		var env mcp.Envelope
		if mcp.Scan(body, &env, mcp.Limits{}) != nil {
			return
		}
		name, _ := mcp.String(body, env.Name)
		a := animals[name]
		if a == nil {
			return
		}
		a(c, string(env.ID.Of(body)))
		if _, err := c.Write(nil); err != nil {
			return
		}
	}
}

// answer writes a whole response.
func answer(c net.Conn, status, contentType, body string) {
	fmt.Fprintf(c, "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", status, contentType, len(body), body)
}

// body answers with a JSON text in which $ is the id.
func body(text string) animal {
	return func(c net.Conn, id string) {
		answer(c, "200 OK", "application/json", strings.ReplaceAll(text, "$", id))
	}
}

// status answers with a status and a text that is no JSON.
func status(line string) animal {
	return func(c net.Conn, _ string) { answer(c, line, "text/plain", "no") }
}

// sse answers with events, in which $ is the id, and the stream's end.
func sse(list ...string) animal {
	return func(c net.Conn, id string) {
		var b strings.Builder
		for _, e := range list {
			fmt.Fprintf(&b, "data: %s\n\n", strings.ReplaceAll(e, "$", id))
		}
		answer(c, "200 OK", "text/event-stream", b.String())
	}
}

const (
	good   = `{"jsonrpc":"2.0","id":$,"result":{"content":[{"type":"text","text":"fine"}]}}`
	opened = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	flowed = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
)

// hang reads until the other side goes away.
func hang(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func reset(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); c.Close() }

// pour writes a text again and again until the other side has had enough.
func pour(c net.Conn, text string) {
	chunk := bytes.Repeat([]byte(text), 1+(64<<10)/len(text))
	for range 1 << 20 {
		if _, err := c.Write(chunk); err != nil {
			return
		}
	}
}

// cages are the rows of the zoo with the codes that may come of them; "" is an answer.
var cages = []struct {
	name  string
	do    animal
	codes string
}{
	{"hangs", func(c net.Conn, _ string) { hang(c) }, "upstream.timeout"},
	{"dribbles", func(c net.Conn, _ string) {
		for _, b := range []byte(opened + strings.Repeat("X: 1\r\n", 1000)) {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}, "upstream.timeout"},
	{"sends a head, then silence", func(c net.Conn, _ string) { fmt.Fprint(c, opened+"Content-Length: 9\r\n\r\n"); hang(c) }, "upstream.timeout"},
	{"comments for ever", func(c net.Conn, _ string) {
		fmt.Fprint(c, flowed)
		for {
			if _, err := io.WriteString(c, ": still here\n\n"); err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}, "upstream.timeout"},
	{"1 GB with a length", func(c net.Conn, _ string) {
		fmt.Fprint(c, opened+"Content-Length: 1073741824\r\n\r\n")
		pour(c, "x")
	}, "upstream.too_large"},
	{"1 GB without", func(c net.Conn, _ string) { fmt.Fprint(c, opened+"\r\n"); pour(c, "x") }, "upstream.too_large"},
	{"one endless line of a stream", func(c net.Conn, _ string) { fmt.Fprint(c, flowed+"data: "); pour(c, "x") }, "upstream.too_large"},
	{"an endless stream of notifications", func(c net.Conn, _ string) {
		fmt.Fprint(c, flowed)
		pour(c, `data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}`+"\n\n")
	}, "upstream.timeout"},
	{"packed", func(c net.Conn, _ string) {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b")
	}, "upstream.nonsense"},
	{"truncated JSON", body(`{"jsonrpc":"2.0","id":$,"result":{`), "upstream.nonsense"},
	{"a key twice", body(`{"jsonrpc":"2.0","id":$,"id":$,"result":{}}`), "upstream.nonsense"},
	{"keys in the wrong case", body(`{"jsonrpc":"2.0","ID":$,"Result":{}}`), "upstream.nonsense"},
	{"bad UTF-8", body("{\"jsonrpc\":\"2.0\",\"id\":$,\"result\":{\"a\":\"\xff\"}}"), "upstream.nonsense"},
	{"a web page", func(c net.Conn, _ string) { answer(c, "200 OK", "text/html", "<html>") }, "upstream.nonsense"},
	{"a page that says it is JSON", func(c net.Conn, _ string) { answer(c, "200 OK", "application/json", "<html>") }, "upstream.nonsense"},
	{"201 and an odd media type", func(c net.Conn, id string) {
		answer(c, "201 Created", "Application/JSON ;charset=utf-8", strings.ReplaceAll(good, "$", id))
	}, ""},
	{"202", status("202 Accepted"), "upstream.nonsense"},
	{"204", func(c net.Conn, _ string) { fmt.Fprint(c, "HTTP/1.1 204 No Content\r\n\r\n") }, "upstream.nonsense"},
	{"no media type", func(c net.Conn, _ string) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") }, "upstream.nonsense"},
	{"a wrong id", body(`{"jsonrpc":"2.0","id":99,"result":{}}`), "upstream.nonsense"},
	{"no id", body(`{"jsonrpc":"2.0","result":{}}`), "upstream.nonsense"},
	{"a null id", body(`{"jsonrpc":"2.0","id":null,"result":{}}`), "upstream.nonsense"},
	{"the id as a string", body(`{"jsonrpc":"2.0","id":"$","result":{}}`), "upstream.nonsense"},
	{"the id as a fraction", body(`{"jsonrpc":"2.0","id":$.0,"result":{}}`), "upstream.nonsense"},
	{"a result and an error", body(`{"jsonrpc":"2.0","id":$,"result":{},"error":{"code":1,"message":"x"}}`), "upstream.nonsense"},
	{"a batch", body(`[` + good + `]`), "upstream.nonsense"},
	{"a request for an answer", body(`{"jsonrpc":"2.0","id":$,"method":"ping"}`), "upstream.nonsense"},
	{"depth 100,000", body(`{"jsonrpc":"2.0","id":$,"result":{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}}`), "upstream.nonsense"},
	{"an unknown result type", body(`{"jsonrpc":"2.0","id":$,"result":{"resultType":"x-new"}}`), ""},
	{"numbers beyond 2^53", body(`{"jsonrpc":"2.0","id":$,"result":{"content":[{"type":"text","text":"fine"}],"n":9007199254740993}}`), ""},
	{"the answer as an event", sse(good), ""},
	{"two answers in a stream", sse(good, good), ""},
	{"somebody else's answer in a stream", sse(`{"jsonrpc":"2.0","id":77,"result":{}}`, good), "upstream.nonsense"},
	{"garbage in a stream", sse(`<html>`), "upstream.nonsense"},
	{"a stream that ends without an answer", sse(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`), "upstream.lost"},
	{"a close in the middle of the body", func(c net.Conn, _ string) { fmt.Fprint(c, opened+"Content-Length: 100\r\n\r\n{"); c.Close() }, "upstream.lost"},
	{"a close in the middle of a stream", func(c net.Conn, _ string) {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:")
		c.Close()
	}, "upstream.lost"},
	{"a reset", func(c net.Conn, _ string) { reset(c) }, "upstream.lost"},
	{"a reset in the middle", func(c net.Conn, _ string) { fmt.Fprint(c, opened+"Content-Length: 100\r\n\r\n{"); reset(c) }, "upstream.lost"},
	{"no HTTP at all", func(c net.Conn, _ string) { fmt.Fprint(c, "SSH-2.0-OpenSSH_9.6\r\n\r\n"); hang(c) }, "upstream.nonsense"},
	{"400", status("400 Bad Request"), "upstream.rejected"},
	{"401", status("401 Unauthorized"), "upstream.auth"},
	{"403", status("403 Forbidden"), "upstream.rejected"},
	{"404", status("404 Not Found"), "upstream.rejected"},
	{"405", status("405 Method Not Allowed"), "upstream.rejected"},
	{"429 without Retry-After", status("429 Too Many Requests"), "upstream.rejected"},
	{"500", status("500 Internal Server Error"), "upstream.failed"},
	{"503", status("503 Service Unavailable"), "upstream.failed"},
	{"a redirect inside", func(c net.Conn, _ string) {
		fmt.Fprint(c, "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
	}, "upstream.nonsense"},
	{"a JSON-RPC error", body(`{"jsonrpc":"2.0","id":$,"error":{"code":-32602,"message":"x","data":{"n":9007199254740993}}}`), ""},
	{"a JSON-RPC error with 400", func(c net.Conn, id string) {
		answer(c, "400 Bad Request", "application/json", `{"jsonrpc":"2.0","id":`+id+`,"error":{"code":-32602,"message":"x"}}`)
	}, ""},
	{"a JSON-RPC error with 400 and no id", func(c net.Conn, _ string) {
		answer(c, "400 Bad Request", "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"x","data":[1]}}`)
	}, ""},
	{"a JSON-RPC error with 400 for somebody else", func(c net.Conn, _ string) {
		answer(c, "400 Bad Request", "application/json", `{"jsonrpc":"2.0","id":77,"error":{"code":-32602,"message":"x"}}`)
	}, "upstream.nonsense"},
	{"cookies and CORS", func(c net.Conn, id string) {
		b := strings.ReplaceAll(good, "$", id)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(b), b)
	}, ""},
	{"uninvited requests", sse(`{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}`, `{"jsonrpc":"2.0","id":2,"method":"roots/list"}`, good), ""},
}

// TestZoo holds every animal to a bounded, classed end, alone and in a herd.
func TestZoo(t *testing.T) {
	animals, endless := map[string]animal{}, map[string]bool{}
	for _, c := range cages {
		animals[c.name], endless[c.name] = c.do, c.codes == "upstream.timeout"
	}
	url := zoo(t, animals)
	leakFree(t, func() {
		h := upstream.NewHub(upstream.Options{Binder: shared{}, Dial: new(net.Dialer).DialContext})
		defer h.Close(t.Context())
		visit := func(name string) error {
			s := serverAt(url) // a server of its own, so that no breaker opens
			s.Era = catalog.Modern
			r := call(s, mcp.LatestModern, "41", name, `{}`)
			r.Timeout = 30 * time.Second // what ends by itself may take its time on a crowded machine
			if endless[name] {
				r.Timeout = 400 * time.Millisecond
			}
			a, err := h.Exchange(t.Context(), r, sinkFunc(func([]byte, *mcp.Envelope) error { return nil }))
			if err != nil {
				return err
			}
			defer a.Release()
			if id := string(a.Envelope.ID.Of(a.Body)); id != "41" {
				return errors.New("answered with id " + id)
			}
			return mcp.Check(a.Body, mcp.Limits{})
		}
		judge := func(t *testing.T, name, want string, err error) {
			t.Helper()
			if got := fault.CodeOf(err); got != want {
				t.Errorf("%s: %q (%v), want %q", name, got, err, want)
			}
		}
		for _, c := range cages {
			t.Run(c.name, func(t *testing.T) { judge(t, c.name, c.codes, visit(c.name)) })
		}
		t.Run("a hundred at once", func(t *testing.T) {
			var wg sync.WaitGroup
			for i := range 100 {
				c := cages[i%len(cages)]
				wg.Go(func() { judge(t, c.name, c.codes, visit(c.name)) })
			}
			wg.Wait()
		})
	})
}

// TestZooSessions shows what the legacy side adds: the handshake may misbehave too.
func TestZooSessions(t *testing.T) {
	for _, c := range []struct {
		name, code string
		answer     func(w http.ResponseWriter, m message)
	}{
		{"a revision that does not exist", "upstream.nonsense", func(w http.ResponseWriter, m message) { respond(w, m.ID, `{"protocolVersion":"1999-01-01"}`) }},
		{"a modern revision", "upstream.nonsense", func(w http.ResponseWriter, m message) { respond(w, m.ID, `{"protocolVersion":"2026-07-28"}`) }},
		{"a wrong id", "upstream.nonsense", func(w http.ResponseWriter, _ message) { respond(w, []byte("5"), `{"protocolVersion":"2025-11-25"}`) }},
		{"nothing", "upstream.nonsense", func(w http.ResponseWriter, _ message) { w.WriteHeader(200) }},
		{"a session id with a space", "upstream.nonsense", func(w http.ResponseWriter, m message) {
			w.Header().Set("Mcp-Session-Id", "a b")
			respond(w, m.ID, `{"protocolVersion":"2025-11-25"}`)
		}},
		{"a session id of 2,000 characters", "upstream.nonsense", func(w http.ResponseWriter, m message) {
			w.Header().Set("Mcp-Session-Id", strings.Repeat("a", 2000))
			respond(w, m.ID, `{"protocolVersion":"2025-11-25"}`)
		}},
		{"a sign-in", "upstream.auth", func(w http.ResponseWriter, _ message) { w.WriteHeader(401) }},
		{"403", "upstream.rejected", func(w http.ResponseWriter, _ message) { w.WriteHeader(403) }},
		{"the name of another era", "upstream.era", func(w http.ResponseWriter, m message) { fail(w, 400, m.ID, -32022, "modern only") }},
	} {
		t.Run("initialize answered with "+c.name+" is an error", func(t *testing.T) {
			u := newScript(t).on("initialize", func(w http.ResponseWriter, _ *http.Request, m message) bool { c.answer(w, m); return true })
			h, s := newHub(t), serverAt(u.URL)
			_, err := h.Exchange(t.Context(), call(s, mcp.LatestLegacy, "1", "echo", `{}`), nil)
			testkit.Fault(t, err, c.code)
			testkit.Equal(t, u.count("tools/call"), 0)
		})
	}
	t.Run("a port nobody listens on", func(t *testing.T) {
		l := testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)
		l.Close()
		h := newHub(t)
		for _, revision := range []mcp.Revision{mcp.LatestLegacy, mcp.LatestModern} {
			_, err := h.Exchange(t.Context(), call(serverAt("http://"+l.Addr().String()), revision, "1", "echo", `{}`), nil)
			testkit.Fault(t, err, "upstream.unreachable")
		}
	})
}

// TestNeverTwice shows that a call which the server may have taken is not sent again.
func TestNeverTwice(t *testing.T) {
	for _, end := range []string{"reset", "half", "500"} {
		t.Run("after "+end, func(t *testing.T) {
			u := newScript(t)
			u.on("tools/call", func(w http.ResponseWriter, _ *http.Request, _ message) bool {
				if end == "500" {
					w.WriteHeader(500)
					return true
				}
				c, _, _ := w.(http.Hijacker).Hijack()
				if end == "half" {
					fmt.Fprint(c, opened+"Content-Length: 100\r\n\r\n{")
				}
				reset(c)
				return true
			})
			h, s := newHub(t), serverAt(u.URL)
			for i := range 3 {
				r := call(s, mcp.LatestLegacy, "1", "echo", `{}`)
				r.Affinity = "one"
				_, err := h.Exchange(t.Context(), r, nil)
				if err == nil || !isFault(err, "upstream.lost", "upstream.failed") {
					t.Errorf("got %v", err)
				}
				testkit.Equal(t, u.count("tools/call"), i+1)
			}
		})
	}
	t.Run("a resumed stream does not send it again either", func(t *testing.T) {
		u := newScript(t)
		var id string
		u.on("tools/call", func(w http.ResponseWriter, _ *http.Request, m message) bool {
			id = string(m.ID)
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "id: e1\nretry: 20\ndata: \n\n")
			return true
		})
		u.on("GET", func(w http.ResponseWriter, r *http.Request, _ message) bool {
			if last := r.Header.Get("Last-Event-ID"); last != "e1" {
				t.Errorf("Last-Event-ID %q", last)
			}
			if u.count("GET") < 3 {
				w.Header().Set("Content-Type", "text/event-stream")
				return true
			}
			events(w)(`{"jsonrpc":"2.0","id":` + id + `,"result":{"content":[{"type":"text","text":"late"}]}}`)
			return true
		})
		h, s := newHub(t), serverAt(u.URL)
		testkit.Equal(t, text(t, testkit.Must(h.Exchange(t.Context(), call(s, mcp.LatestLegacy, "1", "echo", `{}`), nil))(t)), "late")
		testkit.Equal(t, u.count("tools/call"), 1)
	})
}
