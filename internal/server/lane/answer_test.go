package lane_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"headgate/internal/testkit"
)

var big = strings.Repeat("0123456789abcdef", 20<<10)

// answers are handlers whose answers must be those net/http makes of them.
var answers = map[string]http.HandlerFunc{
	"nothing":             func(http.ResponseWriter, *http.Request) {},
	"a status":            func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(202) },
	"an unknown status":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(599) },
	"two statuses":        func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404); w.WriteHeader(200) },
	"a short text":        func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") },
	"markup":              func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html><body>") },
	"as much as waits":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, big[:2048]) },
	"more than waits":     func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, big[:2049]) },
	"pieces":              func(w http.ResponseWriter, _ *http.Request) { pieces(w, 10, 1000) },
	"large pieces":        func(w http.ResponseWriter, _ *http.Request) { pieces(w, 5, 60<<10) },
	"pieces, flushed":     func(w http.ResponseWriter, _ *http.Request) { flushed(w, 5, 100) },
	"a head, flushed":     func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
	"a length":            func(w http.ResponseWriter, _ *http.Request) { sized(w, 5, "hello") },
	"a length, flushed":   func(w http.ResponseWriter, _ *http.Request) { length(w, 500); flushed(w, 5, 100) },
	"a length in pieces":  func(w http.ResponseWriter, _ *http.Request) { length(w, 300<<10); pieces(w, 5, 60<<10) },
	"a large length":      func(w http.ResponseWriter, _ *http.Request) { sized(w, len(big), big) },
	"a length of nothing": func(w http.ResponseWriter, _ *http.Request) { length(w, 0) },
	"too much":            func(w http.ResponseWriter, _ *http.Request) { sized(w, 5, "hello!") },
	"too little":          func(w http.ResponseWriter, _ *http.Request) { sized(w, 5, "hell") },
	"204":                 func(w http.ResponseWriter, _ *http.Request) { length(w, 5); w.WriteHeader(204); say(w, "hello") },
	"304": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		length(w, 5)
		w.WriteHeader(304)
		say(w, "hello")
	},
	"headers": func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h["X-Many"] = []string{"a", "", "b"}
		h.Set("X-Space", " \t a b \t ")
		h.Set("X-Split", "a\r\nX-Injected: b\n\rc")
		h.Set("Bad Name", "a")
		h.Set("Bad:Name", "a")
		h.Set("X-Ümlaut", "a")
		h[""] = []string{"a"}
		h.Set("Content-Encoding", "gzip")
		fmt.Fprint(w, "<html>")
		h.Set("X-Late", "a")
	},
	"a Date of its own": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", "never"); fmt.Fprint(w, "x") },
	"no type wanted":    func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil; fmt.Fprint(w, "x") },
	"Connection: close": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, "x")
	},
	"an abort": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	"an abort behind half an answer": func(w http.ResponseWriter, _ *http.Request) {
		flushed(w, 1, 10)
		panic(http.ErrAbortHandler)
	},
	"a panic over a status that is none": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(42) },
}

func pieces(w io.Writer, n, size int) {
	for i := range n {
		_, _ = io.WriteString(w, big[i:i+size])
	}
}

func flushed(w http.ResponseWriter, n, size int) {
	for range n {
		pieces(w, 1, size)
		_ = http.NewResponseController(w).Flush()
	}
}

func length(w http.ResponseWriter, n int) { w.Header().Set("Content-Length", fmt.Sprint(n)) }

func sized(w http.ResponseWriter, n int, text string) { length(w, n); say(w, text) }

// say adds what writing returned, for the comparison.
func say(w http.ResponseWriter, text string) {
	if _, err := io.WriteString(w, text); err != nil {
		w.Header().Set("X-Error", err.Error())
	}
}

func TestAnswers(t *testing.T) {
	for name, handler := range answers {
		t.Run(name+" is as net/http makes it", func(t *testing.T) {
			var writing [2]string
			s := open(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/mcp/next" {
					return
				}
				handler(w, r)
				if server(w) == "lane" {
					writing[1] = w.Header().Get("X-Error")
				} else {
					writing[0] = w.Header().Get("X-Error")
				}
			})
			for _, ask := range []string{
				"POST /mcp%s HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}",
				"GET /mcp%s HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\n\r\n",
			} {
				var got [2]string
				for i, query := range []string{"?net", ""} {
					c := s.dial(t)
					c.say(fmt.Sprintf(ask, query))
					got[i] = c.describe()
					c.say("POST /mcp/next HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
					if res, err := http.ReadResponse(c.in, nil); err == nil {
						got[i] += "\nthen " + res.Status
					}
				}
				testkit.Equal(t, got[1], got[0])
				testkit.Equal(t, writing[1], writing[0])
			}
		})
	}
}

// describe puts an answer into words, without what time and order change.
func (c *client) describe() string {
	res, err := http.ReadResponse(c.in, &http.Request{Method: http.MethodPost})
	if err != nil {
		return "no answer"
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	date := res.Header.Get("Date")
	if at, err := http.ParseTime(date); err == nil && time.Since(at).Abs() < patient {
		date = "now"
	}
	res.Header.Del("Date")
	return fmt.Sprint(res.Status, res.Header, date, res.ContentLength, res.TransferEncoding, res.Close, err, " ", len(body), string(body))
}

func TestFraming(t *testing.T) {
	t.Run("it is never the handler's, however it spells it", func(t *testing.T) {
		s := open(t, func(w http.ResponseWriter, _ *http.Request) {
			for _, name := range []string{"content-length", "transfer-encoding", "connection", "TRAILER"} {
				w.Header()[name] = []string{"7"}
			}
			fmt.Fprint(w, "hello")
		})
		c := s.dial(t)
		c.say(post(""))
		res, got := c.answer()
		if got != "hello" || res.ContentLength != 5 || len(res.Header) != 3 {
			t.Errorf("%q %v", got, res.Header)
		}
	})
	t.Run("a length that is none is not believed", func(t *testing.T) {
		s := open(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "five")
			fmt.Fprint(w, "hello")
		})
		testkit.Equal(t, s.dial(t).call(""), "hello")
	})
	t.Run("an answer with a length is one write, with its head", func(t *testing.T) {
		for _, n := range []int{0, 64, 4 << 10, 33 << 10, 300 << 10} {
			s := open(t, func(w http.ResponseWriter, _ *http.Request) { sized(w, n, big[:n]) })
			c := s.dial(t)
			testkit.Equal(t, len(c.call("")), n)
			if got := s.writes.Load(); got != 1 {
				t.Errorf("%d bytes in %d writes", n, got)
			}
		}
	})
	t.Run("an event is one write, as it comes", func(t *testing.T) {
		next := make(chan string)
		s := open(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			w.WriteHeader(200)
			for text := range next {
				control := http.NewResponseController(w)
				if err := errors.Join(control.SetWriteDeadline(time.Now().Add(patient))); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(w, text)
				if err := control.Flush(); err != nil {
					t.Error(err)
				}
			}
		})
		c := s.dial(t)
		c.say(post(""))
		var res *http.Response
		for i, text := range []string{"data: 1\n\n", "data: 22\n\n", "data: 333\n\n"} {
			next <- text
			if res == nil {
				res = testkit.Must(http.ReadResponse(c.in, nil))(t)
			}
			got := make([]byte, len(text))
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != text {
				t.Fatalf("%q, %v", got, err)
			}
			testkit.Equal(t, s.writes.Load(), int64(i+1))
		}
		close(next)
		if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil {
			t.Errorf("%q, %v", rest, err)
		}
	})
	t.Run("a client that does not read ends its request at the write deadline", func(t *testing.T) {
		ended := make(chan error, 1)
		s := open(t, func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			_ = control.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			var err error
			for err == nil {
				_, err = io.WriteString(w, big)
			}
			<-r.Context().Done()
			ended <- err
		})
		c := s.dial(t)
		c.say(post(""))
		if err := <-ended; !isTimeout(err) {
			t.Error(err)
		}
	})
	t.Run("a write deadline ends with its answer", func(t *testing.T) {
		s := open(t, func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength == 1 {
				_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
				tell(w, r)
				return
			}
			<-time.After(100 * time.Millisecond) // beyond it
			tell(w, r)
		})
		c := s.dial(t)
		c.call("1")
		testkit.Equal(t, c.call("22"), "lane: POST /mcp 22")
	})
	t.Run("a panic is logged and ends its connection alone", func(t *testing.T) {
		s := open(t, func(w http.ResponseWriter, r *http.Request) {
			if r.ContentLength == 1 {
				panic("reason")
			}
			tell(w, r)
		})
		c, other := s.dial(t), s.dial(t)
		c.say(post("1"))
		if !c.ended() || !strings.Contains(s.log.String(), "reason") {
			t.Error(s.log.String())
		}
		testkit.Equal(t, other.call("22"), "lane: POST /mcp 22")
	})
	t.Run("there is no hijacking", func(t *testing.T) {
		s := open(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _, err := http.NewResponseController(w).Hijack()
			fmt.Fprint(w, errors.Is(err, http.ErrNotSupported))
		})
		testkit.Equal(t, s.dial(t).call(""), "true")
	})
}
