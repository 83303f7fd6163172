package wire_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"

	"headgate/internal/upstream/wire"
)

// read reads an answer whole. Two errors are alike: the texts are for the log.
func read(from io.Reader) (status int, body string, ok bool) {
	r, err := wire.ReadResponse(from)
	if err != nil {
		return 0, "", false
	}
	b, err := r.ReadAll(0)
	return r.Status, string(b), err == nil
}

// FuzzResponse holds that the pace of the bytes changes nothing, and that what
// is accepted here means the same to net/http.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		okAnswer, sseHead + "\r\ndata: 1\n\n", "HTTP/1.1 204 No\r\nX: y\r\n\r\n", "HTTP/1.0 200\r\n\r\nabc",
		okHead + chunked + "2;a=b\r\n{}\r\n0\r\nX: y\r\n\r\n", "HTTP/1.1 100 C\r\n\r\n" + okAnswer,
		okHead + chunked + "0\r\nno field\r\n\r\n",
		okHead + "Connection: close\r\nWww-Authenticate: a\r\nRetry-After: 1\r\nAllow: x\r\nMcp-Session-Id: y\r\nContent-Length: 0\r\n\r\n",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, answer string) {
		status, body, ok := read(strings.NewReader(answer))
		status2, body2, ok2 := read(iotest.OneByteReader(strings.NewReader(answer)))
		if status != status2 || body != body2 || ok != ok2 {
			t.Fatalf("%q: whole %d %q %v, byte by byte %d %q %v", answer, status, body, ok, status2, body2, ok2)
		}
		if !ok {
			return
		}
		in := bufio.NewReader(strings.NewReader(answer))
		for {
			resp, err := http.ReadResponse(in, &http.Request{Method: "POST"})
			if err != nil {
				t.Fatalf("%q: accepted as %d, but net/http says %v", answer, status, err)
			}
			b, err := io.ReadAll(resp.Body)
			if resp.StatusCode < 200 {
				continue
			}
			if err != nil || resp.StatusCode != status || string(b) != body {
				t.Fatalf("%q: accepted as %d %q, but net/http says %d %q, %v", answer, status, body, resp.StatusCode, b, err)
			}
			return
		}
	})
}
