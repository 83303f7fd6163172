package lane_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/net/http/httpguts"

	"headgate/internal/server/lane"
	"headgate/internal/testkit"
)

const (
	plain  = "POST /mcp HTTP/1.1\r\nHost: localhost:8080\r\nContent-Length: 2\r\n\r\n{}"
	stream = "GET /mcp HTTP/1.1\r\nHost: localhost:8080\r\nAccept: text/event-stream\r\n\r\n"
)

// heads are what the lane must leave to net/http, each for one reason.
var heads = map[string]string{
	"another method":                  "PUT /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"HEAD":                            "HEAD /mcp HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
	"a GET of no kind":                "GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n",
	"a GET of a page":                 "GET /mcp HTTP/1.1\r\nHost: a\r\nAccept: text/html, */*\r\n\r\n",
	"a GET of any kind":               "GET /mcp HTTP/1.1\r\nHost: a\r\nX-Accept: text/event-stream\r\nAccept: */*\r\n\r\n",
	"a GET with two wishes":           "GET /mcp HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\naccept: */*\r\n\r\n",
	"a GET with a length of nothing":  "GET /mcp HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nContent-Length: 0\r\n\r\n",
	"a GET with a body":               "GET /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nAccept: text/event-stream\r\n\r\n{}",
	"a GET with chunks":               "GET /mcp HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"a GET without Host":              "GET /mcp HTTP/1.1\r\nAccept: text/event-stream\r\n\r\n",
	"a GET that upgrades":             "GET /mcp HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nUpgrade: websocket\r\n\r\n",
	"a GET that is the last":          "GET /mcp HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n",
	"a GET with Pragma":               "GET /mcp HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nPragma: no-cache\r\n\r\n",
	"a GET with a query":              "GET /mcp?a=b HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
	"a GET of another path":           "GET /mcpx HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
	"a GET of HTTP/1.0":               "GET /mcp HTTP/1.0\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
	"a GET in two cases":              "Get /mcp HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
	"a GET with two spaces":           "GET  /mcp HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
	"a GET that is not all of it":     "GETS /mcp HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
	"a method in lower case":          "post /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.0":                        "POST /mcp HTTP/1.0\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"HTTP/1.2":                        "POST /mcp HTTP/1.2\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"another path":                    "POST /v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"a path that only begins alike":   "POST /mcpx HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"a query":                         "POST /mcp?a=b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"an escape":                       "POST /mcp/%61 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"a dot segment":                   "POST /mcp/../v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"an empty segment":                "POST /mcp//a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"an absolute target":              "POST http://a/mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"two spaces in the line":          "POST  /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"a space behind the version":      "POST /mcp HTTP/1.1 \r\nHost: a\r\nContent-Length: 0\r\n\r\n",
	"no Host":                         "POST /mcp HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
	"an empty Host":                   "POST /mcp HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n",
	"two Hosts":                       "POST /mcp HTTP/1.1\r\nHost: a\r\nhost: a\r\nContent-Length: 0\r\n\r\n",
	"a strange Host":                  "POST /mcp HTTP/1.1\r\nHost: a/b\r\nContent-Length: 0\r\n\r\n",
	"no length":                       "POST /mcp HTTP/1.1\r\nHost: a\r\n\r\n",
	"an empty length":                 "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
	"two lengths":                     "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
	"a list of lengths":               "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\n{}",
	"a signed length":                 "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\n{}",
	"a negative length":               "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: -2\r\n\r\n{}",
	"a padded length":                 "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 002\r\n\r\n{}",
	"a hexadecimal length":            "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\n{}",
	"a length above the limit":        "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 4194305\r\n\r\n",
	"a length beyond numbers":         "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551618\r\n\r\n{}",
	"chunks":                          "POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"chunks and a length":             "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
	"a coding that is none":           "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: identity\r\n\r\n{}",
	"Expect":                          "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n{}",
	"Upgrade":                         "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nUpgrade: h2c\r\n\r\n{}",
	"Trailer":                         "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTrailer: X\r\n\r\n{}",
	"TE":                              "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTE: trailers\r\n\r\n{}",
	"Pragma":                          "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nPragma: no-cache\r\n\r\n{}",
	"Connection: close":               "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}",
	"Connection: close among others":  "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nConnection: keep-alive, close\r\n\r\n{}",
	"a name with space before colon":  "POST /mcp HTTP/1.1\r\nHost: a\r\nX-A : 1\r\nContent-Length: 2\r\n\r\n{}",
	"a line without a colon":          "POST /mcp HTTP/1.1\r\nHost: a\r\nX-A\r\nContent-Length: 2\r\n\r\n{}",
	"a line without a name":           "POST /mcp HTTP/1.1\r\nHost: a\r\n: 1\r\nContent-Length: 2\r\n\r\n{}",
	"an underscore in a name":         "POST /mcp HTTP/1.1\r\nHost: a\r\nX_A: 1\r\nContent-Length: 2\r\n\r\n{}",
	"a folded line":                   "POST /mcp HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n 2\r\nContent-Length: 2\r\n\r\n{}",
	"a folded length":                 "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n 2\r\n\r\n{}",
	"a line that ends in LF":          "POST /mcp HTTP/1.1\r\nHost: a\nContent-Length: 2\r\n\r\n{}",
	"a request line that ends in LF":  "POST /mcp HTTP/1.1\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
	"a head that ends in LF":          "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\n{}",
	"a CR in a value":                 "POST /mcp HTTP/1.1\r\nHost: a\r\nX-A: 1\r2\r\nContent-Length: 2\r\n\r\n{}",
	"a NUL in a value":                "POST /mcp HTTP/1.1\r\nHost: a\r\nX-A: 1\x002\r\nContent-Length: 2\r\n\r\n{}",
	"a NUL in a name":                 "POST /mcp HTTP/1.1\r\nHost: a\r\nX-\x00A: 1\r\nContent-Length: 2\r\n\r\n{}",
	"a byte above 127":                "POST /mcp HTTP/1.1\r\nHost: a\r\nX-A: \xc3\xa9\r\nContent-Length: 2\r\n\r\n{}",
	"a header twice":                  "POST /mcp HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\nauthorization: Bearer b\r\nContent-Length: 2\r\n\r\n{}",
	"more headers than anybody needs": "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n" + many(64) + "\r\n{}",
	"a head above 32 KiB":             "POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nX-A: " + strings.Repeat("a", 32<<10) + "\r\n\r\n{}",
	"an empty line first":             "\r\nPOST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
	"the preface of HTTP/2":           "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"a TLS client":                    "\x16\x03\x01\x02\x00\x01\x00",
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("X-" + strings.Repeat("a", i+1) + ": 1\r\n")
	}
	return b.String()
}

func TestReadHead(t *testing.T) {
	t.Run("a plain request is read as net/http reads it", func(t *testing.T) {
		text := "POST /mcp/w/a/b-1_2 HTTP/1.1\r\nhost:[::1]:8080\r\nCONTENT-length:  12\t\r\nx-empty:\r\nUser-Agent: a b\tc \r\nConnection: Keep-Alive\r\n\r\n{}"
		r, end, ok := lane.ReadHead([]byte(text), "/mcp")
		if !ok || text[end:] != "{}" {
			t.Fatalf("taken: %v, %d bytes", ok, end)
		}
		testkit.Equal(t, r.Header, http.Header{"Content-Length": {"12"}, "X-Empty": {""}, "User-Agent": {"a b\tc"}, "Connection": {"Keep-Alive"}})
		testkit.Equal(t, []any{r.Host, r.RequestURI, r.URL.Path, r.ContentLength}, []any{"[::1]:8080", "/mcp/w/a/b-1_2", "/mcp/w/a/b-1_2", int64(12)})
	})
	t.Run("so is the GET of an event stream, which has no body", func(t *testing.T) {
		text := "GET /mcp/a HTTP/1.1\r\nHost: a\r\nACCEPT: application/json, text/event-stream;q=0.9\r\nLast-Event-ID: 7\r\n\r\nPOST"
		r, end, ok := lane.ReadHead([]byte(text), "/mcp")
		if !ok || text[end:] != "POST" {
			t.Fatalf("taken: %v, %d bytes", ok, end)
		}
		testkit.Equal(t, r.Header, http.Header{"Accept": {"application/json, text/event-stream;q=0.9"}, "Last-Event-Id": {"7"}})
		testkit.Equal(t, []any{r.Method, r.RequestURI, r.ContentLength, r.Body}, []any{"GET", "/mcp/a", int64(0), http.NoBody})
	})
	for name, text := range heads {
		t.Run("net/http judges "+name, func(t *testing.T) {
			if _, _, ok := lane.ReadHead([]byte(text), "/mcp"); ok {
				t.Error("the lane took it")
			}
			if lane.Waits([]byte(text), "/mcp") {
				t.Error("the lane waits for more")
			}
		})
	}
	t.Run("what cannot become ours is known at its first byte", func(t *testing.T) {
		for _, text := range []string{"H", "PUT", "GEX", "GET /v", "GET /mcp HTTP/1.0\r\n", "GET /mcp HTTP/1.1\r\nContent-Length: 0\r\n", "POSX", "POST /v", "POST /mcq", "POST /mcp HTTP/1.0\r\n", "POST /mcp HTTP/1.1\r\nX-A : 1\r\n"} {
			if lane.Waits([]byte(text), "/mcp") {
				t.Errorf("%q is waited for", text)
			}
		}
	})
	t.Run("half a head is waited for", func(t *testing.T) {
		for _, text := range []string{plain[:len(plain)-2], stream} {
			for i := range len(text) {
				if !lane.Waits([]byte(text[:i]), "/mcp") {
					t.Errorf("%q is not", text[:i])
				}
			}
		}
	})
}

// What one head was read as is used for the next that says the same. Each of
// these differs in one place from the head before it.
func TestReadNext(t *testing.T) {
	first := "POST /mcp/a HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nContent-Length: 12 \r\nMcp-Name: x\r\n\r\n"
	compare := func(t *testing.T, text string) bool {
		t.Helper()
		want, wantEnd, ok := lane.ReadHead([]byte(text), "/mcp")
		got, end, again := lane.ReadNext([]byte(first), []byte(text), "/mcp")
		if again != ok || ok && end != wantEnd {
			t.Fatalf("%q: taken %v up to %d after another, %v up to %d alone", text, again, end, ok, wantEnd)
		}
		if ok {
			of := func(r *http.Request) []any {
				return []any{r.Method, r.RequestURI, r.URL.Path, r.Host, r.ContentLength, r.Header}
			}
			testkit.Equal(t, of(got), of(want))
		}
		return ok
	}
	t.Run("is read as if it were the first", func(t *testing.T) {
		for i := range len(first) {
			compare(t, first[:i])
			compare(t, first[:i]+first[i+1:])
			for _, b := range []byte("\x00\t\r\n +-,:/09aZ~\x80") {
				compare(t, first[:i]+string(b)+first[i+1:])
				compare(t, first[:i]+string(b)+first[i:])
			}
		}
		for name, text := range heads {
			t.Run(name, func(t *testing.T) { compare(t, text) })
		}
	})
	t.Run("whatever its length", func(t *testing.T) {
		for n, ok := range map[string]bool{"0": true, "7": true, "12": true, "4194304": true, "": false, "012": false, "00": false, "4194305": false, "99999999": false, "12 12": false} {
			if compare(t, strings.Replace(first, "12", n, 1)+"{}") != ok {
				t.Errorf("a length of %q is taken: %v", n, !ok)
			}
		}
	})
	t.Run("also when a stream was asked for in between", func(t *testing.T) {
		s := open(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Method+r.Header.Get("X-A")) })
		c := s.dial(t)
		for _, want := range []string{"POST1", "GET2", "POST1", "POST1"} {
			text := "POST /mcp HTTP/1.1\r\nHost: a\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n"
			if want == "GET2" {
				text = "GET /mcp HTTP/1.1\r\nHost: a\r\nX-A: 2\r\nAccept: text/event-stream\r\n\r\n"
			}
			c.say(text)
			_, got := c.answer()
			testkit.Equal(t, got, want)
		}
	})
}

// FuzzHead: what the lane takes, net/http takes too, and reads the same.
func FuzzHead(f *testing.F) {
	f.Add([]byte(plain))
	f.Add([]byte(stream))
	f.Add([]byte(stream + plain))
	f.Add([]byte("GET /x/y/z HTTP/1.1\r\nHost: a:1\r\naccept:\tapplication/json,text/event-stream\r\nLast-Event-ID: =?base64?eA==?=\r\nConnection: keep-alive\r\n\r\n{}GET "))
	for _, text := range heads {
		if len(text) < 1000 {
			f.Add([]byte(text))
		}
	}
	f.Add([]byte("POST /mcp/a HTTP/1.1\r\nHost: a:1\r\nContent-Length: 3\r\nX-a:  b \t\r\nMCP-Name: =?base64?eA==?=\r\nConnection: keep-alive\r\n\r\nabcPOST "))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, end, ok := lane.ReadHead(bytes.Clone(text), "/mcp", "/x/y")
		if !ok {
			return
		}
		again, at, ok := lane.ReadNext(text, bytes.Clone(text), "/mcp", "/x/y")
		if !ok || at != end || !reflect.DeepEqual(again.Header, got.Header) || again.ContentLength != got.ContentLength {
			t.Errorf("the same again is read as %v", again)
		}
		rest := bufio.NewReader(bytes.NewReader(text))
		want, err := http.ReadRequest(rest)
		if err != nil {
			t.Fatalf("net/http refuses it: %v", err)
		}
		for name, values := range want.Header { // http.Server checks these after parsing
			if !httpguts.ValidHeaderFieldName(name) || len(values) != 1 || !httpguts.ValidHeaderFieldValue(values[0]) {
				t.Errorf("net/http's server refuses %q: %q", name, values)
			}
		}
		if !httpguts.ValidHostHeader(want.Host) {
			t.Errorf("net/http's server refuses the host %q", want.Host)
		}
		type reading struct {
			Method, URI, Path, Raw, Query, Proto, Host string
			Length                                     int64
			Close                                      bool
			Header, Trailer                            http.Header
			Coding                                     []string
		}
		of := func(r *http.Request) reading {
			h := r.Header.Clone()
			h.Del("Host") // the server takes it away
			return reading{r.Method, r.RequestURI, r.URL.Path, r.URL.RawPath, r.URL.RawQuery, r.Proto, r.Host, r.ContentLength, r.Close, h, r.Trailer, r.TransferEncoding}
		}
		testkit.Equal(t, of(got), of(want))
		body, _ := io.ReadAll(want.Body)
		after := text[end:]
		if n := min(int64(len(after)), want.ContentLength); !bytes.Equal(body, after[:n]) {
			t.Errorf("net/http reads the body %q, the lane %q", body, after[:n])
		}
	})
}
