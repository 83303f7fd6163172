package lane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/server/lane"
	"headgate/internal/testkit"
)

func TestEntry(t *testing.T) {
	s := open(t, tell)
	t.Run("plain calls stay on the lane, one after the other", func(t *testing.T) {
		c := s.dial(t)
		for _, body := range []string{"{}", "", "{ }", strings.Repeat("x", 100<<10)} {
			testkit.Equal(t, c.call(body, "User-Agent: a"), "lane: POST /mcp "+body)
		}
	})
	t.Run("what is not plain goes to net/http with its connection, and so does what follows", func(t *testing.T) {
		for name, text := range map[string]string{
			"GET":     "GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n",
			"chunked": "POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
			"another": "POST /v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
		} {
			t.Run(name, func(t *testing.T) {
				c := s.dial(t)
				testkit.Equal(t, c.call("1"), "lane: POST /mcp 1")
				c.say(text)
				if _, got := c.answer(); !strings.HasPrefix(got, "net/http: ") {
					t.Error(got)
				}
				testkit.Equal(t, c.call("2"), "net/http: POST /mcp 2")
			})
		}
	})
	t.Run("GETs of event streams are on the lane, before and behind calls", func(t *testing.T) {
		c := s.dial(t)
		for range 2 {
			c.say(stream)
			_, got := c.answer()
			testkit.Equal(t, got, "lane: GET /mcp ")
			testkit.Equal(t, c.call("1"), "lane: POST /mcp 1")
		}
		c.say(stream + post("2") + stream + stream + post("3"))
		for _, want := range []string{"lane: GET /mcp ", "lane: POST /mcp 2", "lane: GET /mcp ", "lane: GET /mcp ", "lane: POST /mcp 3"} {
			_, got := c.answer()
			testkit.Equal(t, got, want)
		}
	})
	t.Run("line ends are passed over behind a call, not behind a stream", func(t *testing.T) {
		c := s.dial(t)
		c.say(post("1") + "\r\n" + stream + "\r\n" + post("2"))
		for _, want := range []string{"lane: POST /mcp 1", "lane: GET /mcp "} {
			_, got := c.answer()
			testkit.Equal(t, got, want)
		}
		if res, _ := c.answer(); res.StatusCode != 400 {
			t.Error(res.Status)
		}
	})
	t.Run("HTTP/1.0 and Connection: close never enter", func(t *testing.T) {
		for _, text := range []string{
			"POST /mcp HTTP/1.0\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
			"POST /mcp HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n{}",
			post("{}", "Connection: close"),
		} {
			c := s.dial(t)
			c.say(text)
			testkit.Must0(t, c.CloseWrite())
			if _, got := c.answer(); got != "net/http: POST /mcp {}" || !c.ended() {
				t.Errorf("%q: %s", text, got)
			}
		}
	})
	t.Run("requests sent together are answered in order, across the move", func(t *testing.T) {
		c := s.dial(t)
		c.say(post("1") + post("2") + "GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n" + post("3"))
		for _, want := range []string{"lane: POST /mcp 1", "lane: POST /mcp 2", "net/http: GET /mcp ", "net/http: POST /mcp 3"} {
			_, got := c.answer()
			testkit.Equal(t, got, want)
		}
	})
	t.Run("a head that grows beyond the first buffer is read, and the next small one", func(t *testing.T) {
		c := s.dial(t)
		for range 2 {
			testkit.Equal(t, c.call("1", "X-Large: "+strings.Repeat("a", 30<<10)), "lane: POST /mcp 1")
			testkit.Equal(t, c.call("2"), "lane: POST /mcp 2")
		}
	})
	t.Run("a client that ends in the middle of a head gets net/http's verdict", func(t *testing.T) {
		c := s.dial(t)
		c.say("POST /mcp HTTP/1.1\r\nHost: a\r\n")
		testkit.Must0(t, c.CloseWrite())
		if res, _ := c.answer(); res.StatusCode != 400 {
			t.Error(res.Status)
		}
	})
	t.Run("handlers learn what net/http tells them", func(t *testing.T) {
		var got [2]string
		s := open(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-A") == "" {
				return // it only moves the connection
			}
			local := r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()
			i := 0
			if server(w) == "lane" {
				i = 1
			}
			got[i] = fmt.Sprint(local, r.RemoteAddr, r.Host, r.Proto, r.Header, r.URL, r.RequestURI, r.ContentLength, r.TLS, r.Close, r.TransferEncoding,
				r.Method, r.ProtoMajor, r.ProtoMinor, r.Body == http.NoBody, r.GetBody == nil, r.Trailer, r.Form, r.PostForm, r.MultipartForm, r.Pattern, r.Response, r.Cancel)
		})
		for _, text := range []string{post("{}", "X-A: b", "accept: c"), post("", "X-A: b"), strings.Replace(stream, "\r\n", "\r\nX-A: b\r\n", 1)} {
			got = [2]string{}
			c := s.dial(t)
			c.say(text)
			c.answer()
			c.say("GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n")
			c.answer()
			c.say(text)
			c.answer()
			testkit.Equal(t, got[1], got[0])
			if got[0] == "" {
				t.Errorf("%q did not come", text)
			}
		}
	})
}

func TestBody(t *testing.T) {
	t.Run("the handler runs before the body is in, and waits for it by reading", func(t *testing.T) {
		running := make(chan struct{})
		s := open(t, func(w http.ResponseWriter, r *http.Request) { close(running); tell(w, r) })
		c := s.dial(t)
		whole := post(strings.Repeat("x", 3<<20))
		c.say(whole[:100])
		<-running
		c.say(whole[100:])
		_, got := c.answer()
		testkit.Equal(t, got, "lane: POST /mcp "+strings.Repeat("x", 3<<20))
	})
	t.Run("a client that ends in the middle is an unexpected end", func(t *testing.T) {
		s := open(t, tell)
		c := s.dial(t)
		c.say(post("0123456789")[:len(post("0123456789"))-4])
		testkit.Must0(t, c.CloseWrite())
		res, got := c.answer()
		testkit.Equal(t, got, "lane: POST /mcp 012345 unexpected EOF")
		if !res.Close || !c.ended() {
			t.Error("the connection lives on")
		}
	})
	t.Run("one that the handler leaves is read past", func(t *testing.T) {
		s := open(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, server(w)) })
		c := s.dial(t)
		for _, n := range []int{1, 6 << 10, 200 << 10, 0} {
			testkit.Equal(t, c.call(strings.Repeat("x", n)), "lane")
		}
	})
	t.Run("one that is too much to read past ends the connection, and the answer arrives", func(t *testing.T) {
		s := open(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, server(w)) })
		c := s.dial(t)
		go func() { _, _ = io.WriteString(c.TCPConn, post(strings.Repeat("x", 4<<20))) }()
		res, got := c.answer()
		if got != "lane" || !res.Close {
			t.Errorf("%q, close %v", got, res.Close)
		}
	})
	t.Run("after Close and after the handler there is no reading", func(t *testing.T) {
		var late io.Reader
		var closed error
		s := open(t, func(_ http.ResponseWriter, r *http.Request) {
			_ = r.Body.Close()
			_, closed = r.Body.Read(make([]byte, 1))
			late = r.Body
		})
		c := s.dial(t)
		c.call("{}")
		c.call("{}")
		_, err := late.Read(make([]byte, 1))
		if !errors.Is(closed, http.ErrBodyReadAfterClose) || !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("%v, %v", closed, err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	short := func(cfg *lane.Config) { cfg.HeadTimeout, cfg.ReadTimeout = 50*time.Millisecond, 50*time.Millisecond }
	t.Run("a head has one, which its bytes do not renew", func(t *testing.T) {
		for _, before := range []int{0, 1} {
			s := open(t, tell, short)
			c := s.dial(t)
			for range before {
				c.call("{}")
			}
			go func() {
				for _, b := range []byte(post("{}", "X-A: "+strings.Repeat("a", 30<<10))) {
					if _, err := c.Write([]byte{b}); err != nil {
						return
					}
					time.Sleep(5 * time.Millisecond) // the client's slowness
				}
			}()
			if !c.ended() {
				t.Error("it is served")
			}
		}
	})
	t.Run("a connection that says nothing has it too", func(t *testing.T) {
		s := open(t, tell, short)
		if !s.dial(t).ended() {
			t.Error("it is kept")
		}
	})
	t.Run("a body has one by its length", func(t *testing.T) {
		var got error
		done := make(chan struct{})
		s := open(t, func(w http.ResponseWriter, r *http.Request) {
			_, got = io.ReadAll(r.Body)
			w.WriteHeader(400)
			close(done)
		}, short)
		c := s.dial(t)
		c.say(post("0123456789")[:len(post("0123456789"))-4])
		res, _ := c.answer()
		<-done
		if !errors.Is(got, os.ErrDeadlineExceeded) || res.StatusCode != 400 || !c.ended() {
			t.Errorf("%v, %s", got, res.Status)
		}
	})
	t.Run("an idle connection is closed", func(t *testing.T) {
		s := open(t, tell, func(cfg *lane.Config) { cfg.IdleTimeout = 50 * time.Millisecond })
		c := s.dial(t)
		c.call("{}")
		if !c.ended() {
			t.Error("it is kept")
		}
	})
	t.Run("a request in flight is no idle connection", func(t *testing.T) {
		leave := make(chan struct{})
		s := open(t, func(w http.ResponseWriter, r *http.Request) { <-leave; tell(w, r) }, short,
			func(cfg *lane.Config) { cfg.IdleTimeout = 50 * time.Millisecond })
		c, other := s.dial(t), s.dial(t)
		c.say(post("{}"))
		if !other.ended() { // by then all have had their look
			t.Error("it is kept")
		}
		close(leave)
		if _, got := c.answer(); got != "lane: POST /mcp {}" {
			t.Error(got)
		}
	})
}

func TestHangUp(t *testing.T) {
	until := func(running chan<- struct{}, ended chan<- error) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			running <- struct{}{}
			<-r.Context().Done()
			ended <- r.Context().Err()
		}
	}
	for name, hangUp := range map[string]func(*client) error{
		"a close":      func(c *client) error { return c.Close() },
		"a reset":      func(c *client) error { _ = c.SetLinger(0); return c.Close() },
		"a half close": func(c *client) error { return c.CloseWrite() },
	} {
		for kind, text := range map[string]string{"the request": post("{}"), "the stream": stream} {
			t.Run(name+" cancels "+kind, func(t *testing.T) {
				running, ended := make(chan struct{}), make(chan error, 1)
				wait := until(running, ended)
				s := open(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodGet {
						w.(http.Flusher).Flush()
					}
					wait(w, r)
				})
				c := s.dial(t)
				c.say(text)
				<-running
				testkit.Must0(t, hangUp(c))
				select {
				case err := <-ended:
					if !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
				case <-time.After(patient):
					t.Error("nobody noticed")
				}
			})
		}
	}
	t.Run("looking for it takes nothing of the next request", func(t *testing.T) {
		leave, other := make(chan struct{}), make(chan error, 1)
		running := make(chan struct{}, 2)
		watched := until(running, other)
		s := open(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/mcp/other" {
				watched(w, r)
				return
			}
			running <- struct{}{}
			select {
			case <-r.Context().Done():
				t.Error("cancelled")
			case <-leave:
			}
			tell(w, r)
		})
		c := s.dial(t)
		c.say(post("1"))
		<-running
		c.say(post("2"))
		o := s.dial(t) // what the sweeper does for it, it has done for c
		o.say("POST /mcp/other HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
		<-running
		testkit.Must0(t, o.Close())
		<-other
		close(leave)
		for _, want := range []string{"lane: POST /mcp 1", "lane: POST /mcp 2"} {
			_, got := c.answer()
			testkit.Equal(t, got, want)
		}
	})
	t.Run("a request ends its context", func(t *testing.T) {
		var ctx context.Context
		s := open(t, func(_ http.ResponseWriter, r *http.Request) { ctx = r.Context() })
		c := s.dial(t)
		c.call("{}")
		<-ctx.Done()
	})
}

func TestKept(t *testing.T) {
	t.Run("strings of a request never change", func(t *testing.T) {
		type seen struct{ agent, name, host, path, uri string }
		var all []seen
		var values [][]string
		s := open(t, func(_ http.ResponseWriter, r *http.Request) {
			all = append(all, seen{r.UserAgent(), r.Header.Get("Mcp-Name"), r.Host, r.URL.Path, r.RequestURI})
			values = append(values, r.Header["Mcp-Name"])
		})
		c := s.dial(t)
		var want []seen
		for i := range 50 {
			n := fmt.Sprint(i / 2) // twice each: kept and made anew
			c.say("POST /mcp/" + n + " HTTP/1.1\r\nHost: h" + n + "\r\nUser-Agent: agent-" + n + "\r\nMcp-Name: name-" + n + "\r\nContent-Length: 0\r\n\r\n")
			c.answer()
			want = append(want, seen{"agent-" + n, "name-" + n, "h" + n, "/mcp/" + n, "/mcp/" + n})
		}
		testkit.Equal(t, fmt.Sprint(all), fmt.Sprint(want))
		for i, v := range values {
			testkit.Equal(t, v, []string{fmt.Sprint("name-", i/2)})
		}
	})
	t.Run("what a handler does to headers and URL stays with its request", func(t *testing.T) {
		var got []string
		s := open(t, func(w http.ResponseWriter, r *http.Request) {
			got = append(got, fmt.Sprint(r.Header, r.URL, r.Host, w.Header()))
			r.Header["X-A"][0] = "changed"
			r.Header.Del("X-B")
			r.Header.Set("X-C", "added")
			r.URL.Path, r.Host = "/changed", "changed"
			w.Header().Set("X-D", "answer")
		})
		c := s.dial(t)
		for range 3 {
			c.call("{}", "X-A: a", "X-B: b")
		}
		testkit.Equal(t, got[1:], []string{got[0], got[0]})
	})
	t.Run("headers of one request are not those of the next", func(t *testing.T) {
		var got http.Header
		s := open(t, func(_ http.ResponseWriter, r *http.Request) { got = r.Header.Clone() })
		c := s.dial(t)
		c.call("", "Authorization: Bearer secret", "X-A: 1")
		c.call("", "X-A: 2")
		testkit.Equal(t, got, http.Header{"X-A": {"2"}, "Content-Length": {"0"}})
		c.call("", "X-B: 2")
		testkit.Equal(t, got, http.Header{"X-B": {"2"}, "Content-Length": {"0"}})
	})
	t.Run("an answer after the handler's end is an error and reaches nobody", func(t *testing.T) {
		var late http.ResponseWriter
		s := open(t, func(w http.ResponseWriter, r *http.Request) {
			if late == nil {
				late = w
			}
			tell(w, r)
		})
		c := s.dial(t)
		c.call("1")
		if _, err := late.Write([]byte("late")); err == nil {
			t.Error("Write took it")
		}
		late.WriteHeader(500)
		control := http.NewResponseController(late)
		if control.Flush() == nil || control.SetWriteDeadline(time.Now()) == nil {
			t.Error("the controller took it")
		}
		testkit.Equal(t, c.call("2"), "lane: POST /mcp 2")
	})
}

// TestStream is about the buffer that an open stream does without.
func TestStream(t *testing.T) {
	// house opens one whose handlers flush, then wait until told to end.
	house := func(t *testing.T) (s *house, next func() *http.Request, leave chan struct{}) {
		running, leave := make(chan *http.Request, 1), make(chan struct{})
		s = open(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, r.Method)
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			running <- r
			<-leave
			_, _ = io.WriteString(w, " "+r.Header.Get("X-Text"))
		})
		return s, func() *http.Request {
			t.Helper()
			select {
			case r := <-running:
				return r
			case <-time.After(patient):
				close(leave)
				t.Fatal("the request does not arrive")
				return nil
			}
		}, leave
	}
	const large = 30 << 10
	for name, text := range map[string]string{
		"a GET": stream, "a POST": post("{}"), "a large head": post("{}", "X-A: "+strings.Repeat("a", large)),
	} {
		t.Run(name+" keeps none, and the connection goes on", func(t *testing.T) {
			s, next, leave := house(t)
			c := s.dial(t)
			for range 3 {
				c.say(text)
				next()
				testkit.Equal(t, lane.Buffered(s.lane), 0)
				leave <- struct{}{}
				if _, got := c.answer(); got != text[:strings.IndexByte(text, ' ')]+" " {
					t.Error(got)
				}
			}
		})
	}
	t.Run("one with a next request in it is kept", func(t *testing.T) {
		s, next, leave := house(t)
		c := s.dial(t)
		c.say(stream + post("2", "X-Text: b") + "POST /mcp HT")
		for _, want := range []string{"GET ", "POST b"} {
			next()
			if lane.Buffered(s.lane) == 0 {
				t.Error("it is gone")
			}
			leave <- struct{}{}
			_, got := c.answer()
			testkit.Equal(t, got, want)
		}
		c.say("TP/1.1\r\nHost: a\r\nX-Text: c\r\nContent-Length: 0\r\n\r\n")
		next()
		testkit.Equal(t, lane.Buffered(s.lane), 0)
		leave <- struct{}{}
		_, got := c.answer()
		testkit.Equal(t, got, "POST c")
	})
	t.Run("a request sent under a stream is answered behind it", func(t *testing.T) {
		s, next, leave := house(t)
		c := s.dial(t)
		c.say(stream)
		next()
		c.say(post("2", "X-Text: b"))
		leave <- struct{}{}
		if _, got := c.answer(); got != "GET " {
			t.Error(got)
		}
		next()
		leave <- struct{}{}
		if _, got := c.answer(); got != "POST b" {
			t.Error(got)
		}
	})
	t.Run("nothing of a request changes when others read into it", func(t *testing.T) {
		s, next, leave := house(t)
		var open []*client
		var all []*http.Request
		for i := range 20 {
			c := s.dial(t)
			n := fmt.Sprint(i)
			c.say("GET /mcp/" + n + " HTTP/1.1\r\nHost: h" + n + "\r\nX-Name-" + n + ": v" + n + "\r\nAccept: text/event-stream\r\nX-Text: " + n + "\r\n\r\n")
			open, all = append(open, c), append(all, next())
		}
		for i, r := range all {
			n := fmt.Sprint(i)
			testkit.Equal(t, []string{r.RequestURI, r.URL.Path, r.Host}, []string{"/mcp/" + n, "/mcp/" + n, "h" + n})
			testkit.Equal(t, r.Header, http.Header{"X-Name-" + n: {"v" + n}, "Accept": {"text/event-stream"}, "X-Text": {n}})
		}
		close(leave)
		for i, c := range open {
			_, got := c.answer()
			testkit.Equal(t, got, fmt.Sprint("GET ", i))
		}
	})
	t.Run("a body too large to read past ends the connection behind a stream too", func(t *testing.T) {
		s := open(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.CopyN(io.Discard, r.Body, 64<<10) // all of what is buffered, and more
			fmt.Fprint(w, server(w))
			w.(http.Flusher).Flush()
		})
		c := s.dial(t)
		go func() { _, _ = io.WriteString(c.TCPConn, post(strings.Repeat("x", 4<<20))) }()
		res, got := c.answer()
		if got != "lane" || !res.Close {
			t.Errorf("%q, close %v", got, res.Close)
		}
		ctx, cancel := context.WithTimeout(context.Background(), patient)
		defer cancel()
		testkit.Must0(t, s.lane.Shutdown(ctx)) // it is gone
	})
	t.Run("a client that does not read is cut off at the write deadline", func(t *testing.T) {
		ended := make(chan error, 1)
		s := open(t, func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			err := control.Flush()
			for _ = control.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err == nil; err = control.Flush() {
				_, _ = io.WriteString(w, big)
			}
			<-r.Context().Done()
			ended <- err
		})
		c := s.dial(t)
		c.say(stream)
		if err := <-ended; !isTimeout(err) {
			t.Error(err)
		}
	})
	t.Run("Shutdown waits for it, and closes its connection", func(t *testing.T) {
		s, next, leave := house(t)
		c := s.dial(t)
		c.say(stream + post("never"))
		next()
		done := make(chan error, 1)
		go func() { done <- s.lane.Shutdown(context.Background()) }()
		soon(t, "the listener is open", func() bool {
			o, err := net.Dial("tcp", s.addr)
			if err == nil {
				_ = o.Close()
			}
			return err != nil
		})
		select {
		case err := <-done:
			t.Errorf("nobody waits: %v", err)
		default:
		}
		leave <- struct{}{}
		if _, got := c.answer(); got != "GET " || !c.ended() {
			t.Error(got)
		}
		testkit.Must0(t, <-done)
	})
	t.Run("Close cuts it off and cancels it", func(t *testing.T) {
		running, ended := make(chan struct{}), make(chan struct{})
		s := open(t, func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			close(running)
			<-r.Context().Done()
			close(ended)
		})
		s.dial(t).say(stream)
		<-running
		testkit.Must0(t, s.lane.Close())
		<-ended
	})
}

func TestShutdown(t *testing.T) {
	t.Run("idle connections are closed, busy ones answered with Connection: close", func(t *testing.T) {
		running, leave := make(chan struct{}), make(chan struct{})
		s := open(t, func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength == 1 {
				close(running)
				<-leave
			}
			tell(w, r)
		})
		idle, fresh, half, busy := s.dial(t), s.dial(t), s.dial(t), s.dial(t)
		idle.call("{}")
		half.say("POST /mcp HT")
		busy.say(post("1") + post("{}"))
		<-running
		done := make(chan error, 1)
		go func() { done <- s.lane.Shutdown(context.Background()) }()
		for _, c := range []*client{idle, fresh, half} {
			if !c.ended() {
				t.Error("one that does nothing is kept")
			}
		}
		select {
		case <-done:
			t.Fatal("nobody waits for the request")
		default:
		}
		close(leave)
		res, got := busy.answer()
		if got != "lane: POST /mcp 1" || !res.Close || !busy.ended() {
			t.Errorf("%s, %v", got, res.Header)
		}
		testkit.Must0(t, <-done)
		if c, err := net.Dial("tcp", s.addr); err == nil {
			_ = c.Close()
			t.Error("the listener is open")
		}
	})
	t.Run("what does not end in time is cut off and cancelled", func(t *testing.T) {
		running, ended := make(chan struct{}), make(chan struct{})
		s := open(t, func(_ http.ResponseWriter, r *http.Request) { close(running); <-r.Context().Done(); close(ended) })
		c := s.dial(t)
		c.say(post(""))
		<-running
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		if err := s.lane.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		testkit.Must0(t, s.lane.Close())
		<-ended
		if !c.ended() {
			t.Error("the connection lives on")
		}
	})
	t.Run("errors of the listener are net/http's to wait after", func(t *testing.T) {
		ln := &failing{Listener: testkit.Must(net.Listen("tcp", "127.0.0.1:0"))(t)}
		ln.left.Store(3)
		l := lane.New(ln, lane.Config{Handler: http.HandlerFunc(tell), Paths: []string{"/mcp"}})
		h := &http.Server{Handler: http.HandlerFunc(tell)}
		done := make(chan struct{})
		go func() { defer close(done); _ = h.Serve(l.Cold()) }()
		testkit.Equal(t, dial(t, ln.Addr().String()).call("{}"), "lane: POST /mcp {}")
		testkit.Must0(t, h.Close())
		<-done
	})
}

// failing fails a few times as a listener without descriptors does.
type failing struct {
	net.Listener
	left atomic.Int64
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left.Add(-1) >= 0 {
		return nil, passing{}
	}
	return f.Listener.Accept()
}

type passing struct{}

func (passing) Error() string   { return "too many open files" }
func (passing) Timeout() bool   { return false }
func (passing) Temporary() bool { return true }

func TestDescriptors(t *testing.T) {
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("no /proc here")
		}
		return len(list)
	}
	s := open(t, tell)
	s.dial(t).call("{}") // what the first one opens for all
	before := count()
	for i := range 50 {
		c := s.dial(t)
		switch i % 5 {
		case 0:
			c.call("{}")
		case 1:
			c.say("GET /mcp HTTP/1.1\r\nHost: a\r\n\r\n")
			c.answer()
		case 2:
			c.say(post("{}")[:30])
		case 3:
			c.say("nonsense\r\n\r\n")
			_, _ = io.Copy(io.Discard, c.in)
		case 4:
			c.say(post("{}") + post("{}") + "GET /mcp HTTP/1.1\r\n")
			c.answer()
		}
		testkit.Must0(t, c.Close())
	}
	soon(t, "descriptors stay open", func() bool { return count() <= before })
}

func TestMany(t *testing.T) {
	s := open(t, func(w http.ResponseWriter, r *http.Request) {
		tell(w, r)
		if r.ContentLength%3 == 0 { // its buffer goes around
			w.(http.Flusher).Flush()
		}
	})
	t.Run("no answer is another's", func(t *testing.T) {
		for i := range 8 {
			t.Run(fmt.Sprint(i), func(t *testing.T) {
				t.Parallel()
				c := s.dial(t)
				for n := range 300 {
					body := fmt.Sprint(i, n, string(bytes.Repeat([]byte{byte('a' + i)}, n*7%3000)))
					testkit.Equal(t, c.call(body), "lane: POST /mcp "+body)
					if n%10 == 0 {
						c.say(stream)
						_, got := c.answer()
						testkit.Equal(t, got, "lane: GET /mcp ")
					}
				}
			})
		}
	})
}
