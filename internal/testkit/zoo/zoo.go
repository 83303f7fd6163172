package zoo

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Zoo is the server, with all its doors. It trusts no client and asks none for
// anything.
type Zoo struct {
	Trust *tls.Config // what a caller must trust to reach the good certificate

	cages map[string]Cage
	lists map[string]List
	doors [doors]string // addresses
	all   []net.Listener
	wg    sync.WaitGroup

	mu       sync.Mutex
	open     map[net.Conn]bool
	closed   bool
	requests map[string]int // got, by cage, list or path
	resolved atomic.Int64
}

// door is where a cage is reached.
type door int

const (
	plain door = iota
	full       // never accepts
	trusted
	expired
	misnamed
	selfSigned
	flapping // plain, by a name
	doors
)

// Open starts a zoo on loopback. Close it when done.
func Open() (*Zoo, error) {
	z := &Zoo{cages: map[string]Cage{}, lists: map[string]List{}, open: map[net.Conn]bool{}, requests: map[string]int{}}
	for _, c := range Cages() {
		z.cages[c.Name] = c
	}
	for _, l := range Lists() {
		z.lists[l.Name] = l
	}
	certs, err := issue()
	if err != nil {
		return nil, err
	}
	z.Trust = certs.trust
	if err := z.listen(plain, nil); err != nil {
		return nil, err
	}
	for d, cert := range map[door]*tls.Certificate{trusted: &certs.good, expired: &certs.expired, misnamed: &certs.misnamed, selfSigned: &certs.selfSigned} {
		if err := z.listen(d, cert); err != nil {
			z.Close()
			return nil, err
		}
	}
	if err := z.listenFull(); err != nil {
		z.Close()
		return nil, err
	}
	_, port, _ := net.SplitHostPort(z.doors[plain])
	z.doors[flapping] = net.JoinHostPort(flappingHost, port)
	return z, nil
}

const flappingHost = "flapping.example"

func (z *Zoo) listen(d door, cert *tls.Certificate) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	z.doors[d], z.all = l.Addr().String(), append(z.all, l)
	z.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			z.wg.Go(func() { z.host(c, cert) })
		}
	})
	return nil
}

// Close ends all connections and waits for what runs.
func (z *Zoo) Close() {
	z.mu.Lock()
	z.closed = true
	for c := range z.open {
		c.Close()
	}
	z.mu.Unlock()
	for _, l := range z.all {
		l.Close()
	}
	z.wg.Wait()
}

// URL is where the cage's server is registered.
func (z *Zoo) URL(c Cage) string {
	switch c.door {
	case plain, full, flapping:
		return "http://" + z.doors[c.door] + "/mcp"
	}
	return "https://" + z.doors[c.door] + "/mcp"
}

// ListURL is where the list's server is registered.
func (z *Zoo) ListURL(l List) string {
	return "http://" + z.doors[plain] + "/" + strings.ReplaceAll(l.Name, " ", "-")
}

// Requests returns how many requests have come to a cage or list, or to the
// path of a document that nobody may fetch.
func (z *Zoo) Requests(name string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.requests[name]
}

func (z *Zoo) count(name string) int {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.requests[name]++
	return z.requests[name]
}

// Dial wraps how a caller connects: one name resolves every second time only.
func (z *Zoo) Dial(next func(ctx context.Context, network, address string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, _ := net.SplitHostPort(address); host != flappingHost {
			return next(ctx, network, address)
		}
		if z.resolved.Add(1)%2 == 1 {
			return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "server misbehaving", Name: flappingHost, IsTemporary: true}}
		}
		return next(ctx, network, z.doors[plain])
	}
}

// host serves one connection.
func (z *Zoo) host(raw net.Conn, cert *tls.Certificate) {
	z.mu.Lock()
	if z.closed {
		raw.Close()
	}
	z.open[raw] = true
	z.mu.Unlock()
	defer func() {
		raw.Close()
		z.mu.Lock()
		defer z.mu.Unlock()
		delete(z.open, raw)
	}()
	c := raw
	if cert != nil {
		c = tls.Server(raw, &tls.Config{Certificates: []tls.Certificate{*cert}})
	}
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
		v := &visit{conn: c, raw: raw.(*net.TCPConn), secret: r.Header.Get("Zoo-Secret")}
		if !z.guide(v, r.URL.Path, body) {
			return
		}
	}
}

// guide leads a request to what answers it; false ends the connection.
func (z *Zoo) guide(v *visit, path string, body []byte) bool {
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct{ Name, Cursor string }
	}
	if len(body) == 0 {
		z.count(path)
		v.answer("404 Not Found", "text/plain", "no")
		return true
	}
	if json.Unmarshal(body, &m) != nil {
		return false
	}
	v.id = string(m.ID)
	list, listed := z.lists[strings.ReplaceAll(strings.TrimPrefix(path, "/"), "-", " ")]
	switch {
	case m.Method == "tools/call":
		c, ok := z.cages[m.Params.Name]
		if !ok || c.do == nil {
			return false
		}
		z.count(c.Name)
		c.do(v)
		return v.alive
	case !listed:
		return false
	case m.Method == "server/discover":
		v.result(`{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true}},"ttlMs":60000,"cacheScope":"public"}`)
	case m.Method == "tools/list":
		v.result(list.page(z, m.Params.Cursor, z.count(list.Name)))
	default:
		v.answer("200 OK", "application/json", `{"jsonrpc":"2.0","id":`+v.id+`,"error":{"code":-32601,"message":"no such method"}}`)
	}
	return v.alive
}

// visit is one request under way.
type visit struct {
	conn   net.Conn
	raw    *net.TCPConn
	id     string // raw JSON
	secret string
	alive  bool // the connection goes on
}

// say writes; false when the other side has gone.
func (v *visit) say(text string) bool {
	_ = v.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	_, err := io.WriteString(v.conn, text)
	v.alive = err == nil
	return v.alive
}

// answer writes a whole response.
func (v *visit) answer(status, contentType, body string) {
	v.say(fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", status, contentType, len(body), body))
}

func (v *visit) result(result string) {
	v.answer("200 OK", "application/json", `{"jsonrpc":"2.0","id":`+v.id+`,"result":`+result+`}`)
}

func (v *visit) reset() {
	_ = v.raw.SetLinger(0)
	v.raw.Close()
	v.alive = false
}
