package wire_test

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"headgate/internal/upstream/wire"
)

func TestRequestBytes(t *testing.T) {
	got := make(chan string, 1)
	up := serve(t, func(p *peer) {
		buf := make([]byte, 4<<10)
		for {
			n, err := p.Read(buf)
			if err != nil {
				return
			}
			got <- string(buf[:n])
			p.say(okAnswer)
		}
	})
	u, _ := url.Parse(up.url)
	p := newPool(t, wire.Options{})
	send := func(t *testing.T, r *wire.Request) string {
		r.Deadline = time.Now().Add(patience)
		must(t, p, r)
		return <-got
	}
	t.Run("a message in parts goes out as one", func(t *testing.T) {
		r := &wire.Request{
			Target: target(t, up.url+"/a%2Fb?x=1", wire.Field{Name: "Authorization", Value: "Bearer k"}),
			Fields: []wire.Field{{Name: "Mcp-Session-Id", Value: "s1"}},
			Body:   [][]byte{[]byte(`{"a":`), []byte("1"), []byte("}")},
		}
		want := "POST /mcp/a%2Fb?x=1 HTTP/1.1\r\nHost: " + u.Host + "\r\nAccept-Encoding: identity\r\nAuthorization: Bearer k\r\nUser-Agent: headgate\r\n" +
			"Accept: application/json, text/event-stream\r\nContent-Type: application/json\r\nContent-Length: 7\r\nMcp-Session-Id: s1\r\n\r\n{\"a\":1}"
		if text := send(t, r); text != want {
			t.Errorf("got %q", text)
		}
	})
	t.Run("a GET has no body and takes what it is told", func(t *testing.T) {
		r := &wire.Request{Method: "GET", Accept: "text/event-stream", Target: target(t, "http://"+u.Host, wire.Field{Name: "user-agent", Value: "me"})}
		want := "GET / HTTP/1.1\r\nHost: " + u.Host + "\r\nAccept-Encoding: identity\r\nuser-agent: me\r\nAccept: text/event-stream\r\n\r\n"
		if text := send(t, r); text != want {
			t.Errorf("got %q", text)
		}
	})
	t.Run("a large message arrives whole", func(t *testing.T) {
		large := serve(t, func(p *peer) {
			body, _ := p.request()
			p.say(fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", okHead, len(body), body))
		})
		body := strings.Repeat("0123456789", 90_000)
		r := post(t, large, patience)
		r.Body = [][]byte{[]byte(body[:7]), []byte(body[7:])}
		if echoed := must(t, p, r); echoed != body {
			t.Errorf("got %d bytes", len(echoed))
		}
	})
	for name, r := range map[string]*wire.Request{
		"a line break in a value":  {Fields: []wire.Field{{Name: "X-A", Value: "a\r\nHost: b"}}},
		"a line break in a name":   {Fields: []wire.Field{{Name: "X-A: b\r\nY", Value: "a"}}},
		"a framing field":          {Fields: []wire.Field{{Name: "Content-LENGTH", Value: "0"}}},
		"a proxy field":            {Fields: []wire.Field{{Name: "Proxy-Connection", Value: "x"}}},
		"a character beyond ASCII": {Fields: []wire.Field{{Name: "X-A", Value: "ä"}}},
		"another method":           {Method: "PUT"},
		"a method with a break":    {Method: "GET / HTTP/1.1\r\n\r\nPOST"},
		"a body with GET":          {Method: "GET", Body: [][]byte{[]byte("x")}},
		"a line break in Accept":   {Accept: "a\r\nb"},
	} {
		t.Run("refuses "+name, func(t *testing.T) {
			r.Target = target(t, up.url)
			if _, err := p.Do(t.Context(), r); !errors.Is(err, wire.ErrRequest) {
				t.Errorf("got %v", err)
			}
		})
	}
	for _, c := range []struct {
		url   string
		field wire.Field
	}{
		{"ftp://h/", wire.Field{}}, {"http:///", wire.Field{}}, {"http://u@h/", wire.Field{}}, {"http://h/?a b", wire.Field{}},
		{"http://h/?\u00e4", wire.Field{}}, {"http://h/", wire.Field{Name: "Host", Value: "x"}}, {"http://h/", wire.Field{Name: "X", Value: "a\nb"}},
	} {
		t.Run(fmt.Sprintf("refuses the target %q with %q", c.url, c.field), func(t *testing.T) {
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			var static []wire.Field
			if c.field != (wire.Field{}) {
				static = append(static, c.field)
			}
			if _, err := wire.NewTarget(u, static); !errors.Is(err, wire.ErrRequest) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestHeader(t *testing.T) {
	up := answering(t, "HTTP/1.1 401 No\r\nSet-Cookie: a=b\r\nmcp-session-id: s1\r\nRetry-After: 7\r\nWWW-Authenticate: Bearer a=\"1\"\r\n"+
		"Allow: GET, POST\r\nwww-authenticate: Basic\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
	resp, err := newPool(t, wire.Options{}).Do(t.Context(), post(t, up, patience))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Release()
	for name, want := range map[string]string{
		"Mcp-Session-Id": "s1", "retry-after": "7", "WWW-Authenticate": `Bearer a="1", Basic`, "Allow": "GET, POST",
		"Content-Type": "application/json", "Set-Cookie": "", "Date": "",
	} {
		if got := resp.Header(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}
