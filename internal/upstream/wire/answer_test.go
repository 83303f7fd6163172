package wire_test

import (
	"errors"
	"strings"
	"testing"

	"headgate/internal/upstream/wire"
)

func TestAccepts(t *testing.T) {
	for _, c := range []struct {
		name, answer string
		status       int
		kind         wire.ContentKind
		body         string
		conns        int32 // for two requests: 1 when the connection may be used again
	}{
		{"a length", okAnswer, 200, wire.JSON, "{}", 1},
		{"no reason phrase", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", 200, wire.None, "{}", 1},
		{"a media type in any case with parameters", "HTTP/1.1 200 OK\r\ncOnTeNt-TyPe:Application/JSON ; charset=utf-8\r\ncontent-length:2 \r\n\r\n{}", 200, wire.JSON, "{}", 1},
		{"another media type", "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\n{}", 200, wire.Other, "{}", 1},
		{"chunks, extensions and trailers", okHead + chunked + "1;a=b\r\n{\r\n01 \r\n}\r\n000\r\nX-T: y\r\nZ: z\r\n\r\n", 200, wire.JSON, "{}", 1},
		{"no body with 204", "HTTP/1.1 204 No Content\r\n\r\n", 204, wire.None, "", 1},
		{"no body with 202", "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", 202, wire.None, "", 1},
		{"interim answers first", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + okAnswer, 200, wire.JSON, "{}", 1},
		{"a redirect, which is not followed", "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", 307, wire.None, "", 1},
		{"an error with a body", "HTTP/1.1 500 Oh\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", 500, wire.JSON, "{}", 1},
		{"an identity encoding", okHead + "Content-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}", 200, wire.JSON, "{}", 1},
		{"a stream in chunks", sseHead + chunked + "9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n", 200, wire.SSE, "1|2", 1},
		{"a stream with a length", sseHead + "Content-Length: 9\r\n\r\ndata: 1\n\n", 200, wire.SSE, "1", 1},

		{"Connection: close", okHead + "Connection: x, Close\r\nContent-Length: 2\r\n\r\n{}", 200, wire.JSON, "{}", 2},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}", 200, wire.None, "{}", 2},
		{"bytes after the answer", okAnswer + "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", 200, wire.JSON, "{}", 2},
		{"bytes after the last chunk", okHead + chunked + "2\r\n{}\r\n0\r\n\r\nX", 200, wire.JSON, "{}", 2},
		{"a body with 204", "HTTP/1.1 204 No\r\nContent-Length: 4\r\n\r\nevil", 204, wire.None, "", 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, pace := range []string{"at once", "byte by byte"} {
				if pace != "at once" && c.conns > 1 {
					continue // what comes after the answer must be there when it ends
				}
				up := serve(t, func(p *peer) {
					for {
						if _, ok := p.request(); !ok {
							return
						}
						step := len(c.answer)
						if pace != "at once" {
							step = 1
						}
						for i := 0; i < len(c.answer); i += step {
							p.say(c.answer[i : i+step])
						}
					}
				})
				p := newPool(t, wire.Options{})
				for range 2 {
					status, kind, body, err := call(t.Context(), p, post(t, up, patience))
					if err != nil || status != c.status || kind != c.kind || body != c.body {
						t.Fatalf("%s: got %d, kind %d, %q, %v", pace, status, kind, body, err)
					}
				}
				if n := up.conns.Load(); n != c.conns {
					t.Errorf("%s: two requests took %d connections, want %d", pace, n, c.conns)
				}
			}
		})
	}
	t.Run("a body that ends with the connection", func(t *testing.T) {
		for answer, want := range map[string]string{okHead + "\r\n{}": "{}", sseHead + "\r\ndata: 1\n\ndata: cut": "1"} {
			up := serve(t, once(func(p *peer) { p.say(answer) }))
			p := newPool(t, wire.Options{})
			for range 2 {
				if _, _, body, err := call(t.Context(), p, post(t, up, patience)); err != nil || body != want {
					t.Fatalf("got %q, %v", body, err)
				}
			}
		}
	})
}

func TestRefuses(t *testing.T) {
	for name, answer := range map[string]string{
		"no HTTP":                           "hello\r\n\r\n",
		"HTTP/0.9":                          "<html>\r\n\r\n",
		"HTTP/2":                            "HTTP/2.0 200 OK\r\n\r\n",
		"lower-case http":                   "http/1.1 200 OK\r\n\r\n",
		"a status of two digits":            "HTTP/1.1 20 OK\r\n\r\n",
		"a status of four digits":           "HTTP/1.1 2000 OK\r\n\r\n",
		"a status beyond 599":               "HTTP/1.1 600 OK\r\n\r\n",
		"a signed status":                   "HTTP/1.1 +20 OK\r\n\r\n",
		"two spaces before the status":      "HTTP/1.1  200 OK\r\n\r\n",
		"an empty line first":               "\r\n" + okAnswer,
		"a control character in the reason": "HTTP/1.1 200 O\x01K\r\n\r\n",
		"a switch of protocols":             "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
		"bare LF":                           "HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
		"bare LF after one field":           "HTTP/1.1 200 OK\r\nX: y\nContent-Length: 2\r\n\r\n{}",
		"bare CR in a field":                "HTTP/1.1 200 OK\r\nX: y\rContent-Length: 9\r\nContent-Length: 2\r\n\r\n{}",
		"a folded field":                    "HTTP/1.1 200 OK\r\nX: y\r\n z: 1\r\nContent-Length: 2\r\n\r\n{}",
		"a space before the colon":          "HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\n{}",
		"a field without a colon":           "HTTP/1.1 200 OK\r\nContent-Length\r\n\r\n{}",
		"a field without a name":            "HTTP/1.1 200 OK\r\n: 2\r\n\r\n{}",
		"NUL in a value":                    "HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 2\r\n\r\n{}",
		"length and chunks":                 okHead + "Content-Length: 2\r\n" + chunked + "2\r\n{}\r\n0\r\n\r\n",
		"chunks and length":                 okHead + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"two lengths":                       okHead + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
		"the same length twice":             okHead + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
		"a list of lengths":                 okHead + "Content-Length: 2, 2\r\n\r\n{}",
		"a signed length":                   okHead + "Content-Length: +2\r\n\r\n{}",
		"a negative length":                 okHead + "Content-Length: -2\r\n\r\n{}",
		"a hexadecimal length":              okHead + "Content-Length: 0x2\r\n\r\n{}",
		"an empty length":                   okHead + "Content-Length:\r\n\r\n{}",
		"a length that overflows":           okHead + "Content-Length: 9223372036854775808\r\n\r\n{}",
		"another transfer encoding":         okHead + "Transfer-Encoding: gzip\r\n\r\n{}",
		"identity transfer encoding":        okHead + "Transfer-Encoding: identity\r\n\r\n{}",
		"chunked twice":                     okHead + "Transfer-Encoding: chunked\r\n" + chunked + "0\r\n\r\n",
		"chunked in a list":                 okHead + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"chunks with HTTP/1.0":              "HTTP/1.0 200 OK\r\n" + chunked + "0\r\n\r\n",
		"a packed body":                     okHead + "Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
		"two content types":                 okHead + "Content-Type: text/event-stream\r\nContent-Length: 2\r\n\r\n{}",
		"two sessions":                      okHead + "Mcp-Session-Id: a\r\nMcp-Session-Id: b\r\nContent-Length: 2\r\n\r\n{}",
		"a chunk size that is no number":    okHead + chunked + "g\r\n{}\r\n0\r\n\r\n",
		"an empty chunk size":               okHead + chunked + "\r\n{}\r\n0\r\n\r\n",
		"a signed chunk size":               okHead + chunked + "+2\r\n{}\r\n0\r\n\r\n",
		"a chunk size with a prefix":        okHead + chunked + "0x2\r\n{}\r\n0\r\n\r\n",
		"a chunk size after a space":        okHead + chunked + " 2\r\n{}\r\n0\r\n\r\n",
		"a chunk size that overflows":       okHead + chunked + "10000000000000002\r\n{}\r\n0\r\n\r\n",
		"a chunk size ended by LF":          okHead + chunked + "2\n{}\r\n0\r\n\r\n",
		"a chunk longer than it said":       okHead + chunked + "2\r\n{}}\r\n0\r\n\r\n",
		"a chunk shorter than it said":      okHead + chunked + "3\r\n{}\r\n0\r\n\r\n",
		"a chunk ended by LF":               okHead + chunked + "2\r\n{}\n0\r\n\r\n",
		"a long chunk extension":            okHead + chunked + "2;" + strings.Repeat("x", 300) + "\r\n{}\r\n0\r\n\r\n",
		"a control character in extensions": okHead + chunked + "2;\x00\r\n{}\r\n0\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			up := answering(t, answer)
			p := newPool(t, wire.Options{})
			status, _, body, err := call(t.Context(), p, post(t, up, patience))
			if !errors.Is(err, wire.ErrProtocol) {
				t.Fatalf("got %d %q, %v", status, body, err)
			}
			if s := p.Stats(); s != (wire.Stats{}) {
				t.Errorf("the connection is kept: %+v", s)
			}
		})
	}
}
