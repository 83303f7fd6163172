package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"headgate/internal/gateway"
	"headgate/internal/mcp"
	"headgate/internal/testkit"
)

// TestConversations plays testdata/*.txtar: what a client says to the Gateway,
// what a server hears of it, and back. testdata/README.md has the words.
func TestConversations(t *testing.T) {
	files := testkit.Must(filepath.Glob("testdata/*.txtar"))(t)
	if len(files) == 0 {
		t.Fatal("no conversations")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			play(t, testkit.Must(txtar.ParseFile(file))(t))
		})
	}
}

// conversation is one that is being played.
type conversation struct {
	*house
	t        testing.TB
	vars     map[string]string // what "$name" stands for, raw JSON
	scripts  map[string]*script
	script   *script // the only one, or the one named last
	path     string
	revision string
	caps     string
	sse      string // "sse": the client is one of HTTP+SSE
	session  *legacy
	posts    map[string]*post
	got      map[string]*incoming
	stream   *events
}

// post is a message the client has sent, and its answer.
type post struct {
	cancel context.CancelFunc
	resp   chan *http.Response
	in     *events
}

func play(t *testing.T, a *txtar.Archive) {
	c := &conversation{house: newHouse(t), t: t, vars: map[string]string{}, scripts: map[string]*script{}, caps: "{}",
		posts: map[string]*post{}, got: map[string]*incoming{}}
	if len(a.Files) == 0 || a.Files[0].Name != "setup" || len(bytes.TrimSpace(a.Comment)) == 0 {
		t.Fatal("a conversation says why, and begins with its setup")
	}
	for line := range strings.Lines(string(a.Files[0].Data)) {
		if line = strings.TrimSpace(line); line != "" {
			c.setup(line)
		}
	}
	for i, f := range a.Files[1:] {
		if t.Failed() {
			return
		}
		t.Logf("step %d: %s", i+1, f.Name)
		c.step(strings.Fields(f.Name), compact(t, string(f.Data)))
	}
	for name, s := range c.scripts {
		if len(s.got) > 0 {
			t.Fatalf("%s got more: %s", name, (<-s.got).body)
		}
	}
}

// setup reads a line of the setup.
func (c *conversation) setup(line string) {
	word, rest, _ := strings.Cut(line, " ")
	switch word {
	case "server": // server NAME legacy|modern|sse
		name, era, _ := strings.Cut(rest, " ")
		s := newScript(c.t, era == "modern")
		c.scripts[name], c.script = s, s
		if era == "sse" {
			s.pair, s.revision = true, "2024-11-05"
		}
		c.serve(name, s.URL)
	case "speaks": // speaks REVISION, of the server
		c.script.revision = rest
	case "lists": // lists METHOD RESULT
		method, result, _ := strings.Cut(rest, " ")
		c.script.lists[method] = result
	case "holds": // holds METHOD
		c.script.holds = rest
	case "declares": // declares CAPABILITIES, of the server
		c.script.capabilities = rest
	case "client": // client REVISION PATH [sse]
		c.revision, c.path, _ = strings.Cut(rest, " ")
		c.path, c.sse, _ = strings.Cut(c.path, " ")
	case "capabilities":
		c.caps = rest
	default:
		c.t.Fatalf("setup does not know %q", line)
	}
}

func (c *conversation) step(words []string, body string) {
	c.t.Helper()
	label := ""
	if len(words) > 2 {
		label = words[2]
	}
	switch verb := words[0] + " " + words[1]; {
	case verb == "client sends":
		c.send(label, c.fill(body))
	case verb == "client gets":
		c.gets(label, body, words[3:])
	case verb == "client ends":
		c.posts[label].in.ended()
	case verb == "client drops":
		c.posts[label].cancel()
	case verb == "client resumes":
		c.resume(label)
	case verb == "client listens":
		c.open()
		c.stream = c.session.listen()
	case verb == "client hears":
		c.match(c.stream.message(), body)
	case verb == "client leaves":
		c.stream.resp.Body.Close()
	case verb == "client returns":
		c.stream = c.session.listen("Last-Event-ID: " + c.stream.id)
	case verb == "client opens":
		c.open()
		c.match(c.session.opened, body)
	case verb == "gateway restarts":
		_, c.url = c.house.open(func(*gateway.Options) {})
	case verb == "gateway logs":
		c.logs(strings.Trim(body, `"`))
	case words[1] == "gets":
		in := c.server(words[0]).gets()
		c.got[label] = in
		c.match(in.body, body)
	case words[1] == "headers":
		c.headers(label, body)
	case words[1] == "sends":
		status, _ := strconv.Atoi(strings.Join(words[3:], ""))
		c.got[label].sends(c.t, c.fill(body), status)
	case words[1] == "pushes":
		least, _ := strconv.Atoi(strings.Join(words[2:], ""))
		c.server(words[0]).pushes(c.fill(body), max(least, 1), false)
	case words[1] == "asks":
		least, _ := strconv.Atoi(strings.Join(words[2:], ""))
		c.server(words[0]).pushes(c.fill(body), max(least, 1), true)
	case words[1] == "forgets":
		c.server(words[0]).forget()
	case words[1] == "loses":
		select {
		case <-c.got[label].gone:
		case <-time.After(time.Second):
			c.t.Fatal("the server's request was not cancelled within a second")
		}
	default:
		c.t.Fatalf("no such step: %v", words)
	}
}

// server returns the script a step is about: "server", or its name.
func (c *conversation) server(name string) *script {
	if s := c.scripts[name]; s != nil {
		return s
	}
	return c.script
}

// open initializes the session of a legacy client.
func (c *conversation) open() {
	c.t.Helper()
	switch {
	case c.session != nil || c.revision >= "2026":
	case c.sse != "":
		c.stream, c.session = c.openPair(c.path, c.revision, c.caps)
	default:
		c.session = c.initialize(c.path, c.revision, c.caps)
	}
	if c.session != nil {
		c.session.h.url = c.url
	}
}

// send posts a message in the background.
func (c *conversation) send(label, body string) {
	c.t.Helper()
	c.open()
	ctx, cancel := context.WithCancel(c.t.Context())
	var r *http.Request
	if c.session != nil {
		r = c.request(ctx, "POST", c.session.path, body, c.session.headers()...)
	} else {
		r = c.modernMessage(ctx, body)
	}
	p := &post{cancel: cancel, resp: make(chan *http.Response, 1)}
	c.posts[label] = p
	go func() {
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			resp = nil // the client has dropped it
		}
		p.resp <- resp
	}()
}

// modernMessage completes a modern message with its _meta and its headers.
func (c *conversation) modernMessage(ctx context.Context, body string) *http.Request {
	c.t.Helper()
	var e mcp.Envelope
	b := []byte(body)
	testkit.Must0(c.t, mcp.Scan(b, &e, mcp.Limits{}))
	if e.ProtocolVersionSpan.Empty() {
		keys := fmt.Sprintf(`"%s":"2026-07-28","%s":%s`, mcp.MetaProtocolVersion, mcp.MetaClientCapabilities, c.caps)
		switch {
		case !e.Meta.Empty():
			b = []byte(strings.Replace(body, `"_meta":{`, `"_meta":{`+keys+`,`, 1))
		case !e.Params.Empty():
			b = mcp.InsertMember(nil, b, e.Params, "_meta", []byte("{"+keys+"}"))
		default:
			b = mcp.InsertMember(nil, b, mcp.Root(b), "params", []byte(`{"_meta":{`+keys+`}}`))
		}
	}
	headers := []string{"MCP-Protocol-Version: 2026-07-28", "Mcp-Method: " + e.Method}
	if by := mcp.NamedBy(e.Method); by != "" {
		testkit.Must0(c.t, mcp.Scan(b, &e, mcp.Limits{}))
		v, _ := mcp.Get(b, e.Params, by)
		name := testkit.Must(mcp.String(b, v))(c.t)
		headers = append(headers, "Mcp-Name: "+mcp.EncodeHeader(name))
	}
	return c.request(ctx, "POST", c.path, string(b), headers...)
}

// gets compares the next message of an answer, and the status if it is given.
func (c *conversation) gets(label, want string, status []string) {
	c.t.Helper()
	p := c.posts[label]
	if p.in == nil {
		select {
		case resp := <-p.resp:
			if resp == nil {
				c.t.Fatal("the request failed")
			}
			p.in = newEvents(c.t, resp)
		case <-time.After(patience):
			c.t.Fatalf("no answer to %s", label)
		}
	}
	if len(status) > 0 && fmt.Sprint(p.in.resp.StatusCode) != status[0] {
		c.t.Errorf("status %d, want %s", p.in.resp.StatusCode, status[0])
	}
	if want != "" {
		c.match(p.in.message(), want)
	}
}

// resume goes on with an answer on a new connection, behind the last event.
func (c *conversation) resume(label string) {
	c.t.Helper()
	c.open()
	last := c.posts[label].in.id
	in := c.session.listen("Last-Event-ID: " + last)
	c.posts[label] = &post{in: in, cancel: func() {}}
}

func (c *conversation) headers(label, want string) {
	c.t.Helper()
	var m map[string]string
	testkit.Must0(c.t, json.Unmarshal([]byte(want), &m))
	for name, value := range m {
		if got := c.got[label].header.Get(name); got != value {
			c.t.Errorf("header %s is %q, want %q", name, got, value)
		}
	}
}

// logs compares the codes of the calls in the log, "ok" for success. Lines are
// written before answers are given, so nothing has to be waited for but calls
// that ended without one.
func (c *conversation) logs(want string) {
	c.t.Helper()
	var got string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		codes := c.lines()
		for i, code := range codes {
			if code == "" {
				codes[i] = "ok"
			}
		}
		if got = strings.Join(codes, " "); got == want {
			return
		}
	}
	c.t.Fatalf("the log says %q, want %q", got, want)
}

var variable = regexp.MustCompile(`"\$(\w+)"`)

// fill puts in what variables stand for.
func (c *conversation) fill(text string) string {
	return variable.ReplaceAllStringFunc(text, func(v string) string {
		if value, ok := c.vars[v[2:len(v)-1]]; ok {
			return value
		}
		c.t.Fatalf("%s stands for nothing yet", v)
		return ""
	})
}

// match compares a message byte by byte, white space between tokens aside. A
// "$name" stands for any value at first, and then for the same.
func (c *conversation) match(got, want string) {
	c.t.Helper()
	got = compact(c.t, got)
	var pattern strings.Builder
	var names []string
	rest := want
	for loc := variable.FindStringSubmatchIndex(rest); loc != nil; loc = variable.FindStringSubmatchIndex(rest) {
		pattern.WriteString(regexp.QuoteMeta(rest[:loc[0]]))
		name := rest[loc[2]:loc[3]]
		if value, ok := c.vars[name]; ok {
			pattern.WriteString(regexp.QuoteMeta(value))
		} else {
			pattern.WriteString(`("(?:[^"\\]|\\.)*"|[-0-9.]+|\{.*?\}|\[.*?\])`)
			names = append(names, name)
		}
		rest = rest[loc[1]:]
	}
	pattern.WriteString(regexp.QuoteMeta(rest))
	m := regexp.MustCompile("^" + pattern.String() + "$").FindStringSubmatch(got)
	if m == nil {
		c.t.Fatalf("got\n  %s\nwant\n  %s", got, want)
	}
	for i, name := range names {
		c.vars[name] = m[i+1]
	}
}

// compact takes the white space between tokens away and leaves everything else.
func compact(t testing.TB, text string) string {
	t.Helper()
	if text = strings.TrimSpace(text); text == "" {
		return ""
	}
	var out bytes.Buffer
	if err := json.Compact(&out, []byte(text)); err != nil {
		t.Fatalf("no JSON: %v in %s", err, text)
	}
	return out.String()
}
