package gateway_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"headgate/internal/catalog"
	"headgate/internal/db"
	"headgate/internal/testkit"
	"headgate/internal/testkit/zoo"
	"headgate/internal/upstream"
)

// TestZoo calls every server of the zoo through the Gateway, alone and a hundred
// times at once. Whatever it does, each call ends in time, once, with an error
// of a known kind or the server's answer; the log has one line for it that says
// the same; what is charged is what the table of who pays says; and nothing is
// left behind. Which behaviours there are, and which cage shows each, is
// testkit/zoo's table.
func TestZoo(t *testing.T) {
	goroutines, files := runtime.NumGoroutine(), descriptors()
	t.Run("calls", zooCalls)
	t.Run("lists", zooLists)
	t.Run("a server that hangs when its session ends holds no client up", zooTeardown)
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "descriptors are closed", func() bool { return descriptors() <= files })
}

func descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0 // no such system
	}
	return len(list)
}

// zooHouse is a house that reaches a zoo.
func zooHouse(t *testing.T) (*zoo.Zoo, *house) {
	t.Helper()
	z := testkit.Must(zoo.Open())(t)
	t.Cleanup(z.Close)
	return z, newHouse(t, func(o *houseOptions) {
		o.hub = func(u *upstream.Options) { u.Dial, u.Wire.TLS = z.Dial(u.Dial), z.Trust }
	})
}

// row is a line of the call log.
type row struct {
	code    string
	charged int64
}

// rows returns the lines of a server's calls, in any order.
func (h *house) rows(server string) []row {
	h.t.Helper()
	return testkit.Must(db.All(context.Background(), h.store, func(r *row) []any { return []any{(*db.Text)(&r.code), &r.charged} },
		`SELECT error_code, credits_charged FROM calls WHERE organization_id = $1 AND server_id = $2`, h.org, server))(h.t)
}

// heardOf is the code of what a client was told; "" for the server's own answer.
func heardOf(t *testing.T, r reply) string {
	t.Helper()
	text := strings.TrimSpace(r.body)
	if i := strings.LastIndex(text, "data: "); i >= 0 && r.header.Get("Content-Type") == "text/event-stream" {
		text = text[i+len("data: "):]
	}
	m := parse(t, text)
	if (m.Error == nil) == (m.Result == nil) || string(m.ID) != "1" {
		t.Errorf("no answer: %.300s", text)
	}
	var ours struct{ Code, RequestID string }
	if m.Error != nil && len(m.Error.Data) > 0 && m.Error.Data[0] == '{' {
		decode(t, string(m.Error.Data), &ours)
	}
	if ours.RequestID == "" {
		return ""
	}
	return ours.Code
}

func zooCalls(t *testing.T) {
	z, h := zooHouse(t)
	herd := 100
	if testing.Short() {
		herd = 20
	}
	for i, c := range zoo.Cages() {
		t.Run(c.Name, func(t *testing.T) {
			h.t = t
			timeout := 30 * time.Second // what ends by itself may take its time on a crowded machine
			if c.Endless {
				timeout = zoo.Timeout
			}
			// visit calls a server of the cage so many times at once.
			visit := func(slug string, times int) {
				d := h.serve(slug, z.URL(c), func(in *catalog.ServerInput) {
					in.Era, in.Timeout, in.Headers = catalog.Modern, timeout, map[string]string{"Zoo-Secret": zoo.Secret}
				})
				before, seen := h.balance(), z.Requests(c.Name)
				ends := c.Ends
				if times > 1 { // five failures in a row leave the server alone
					ends = append(slices.Clone(ends), zoo.End{Fault: upstream.ErrOpen.Code, Log: upstream.ErrOpen.Code})
				}
				told := map[string]int{}
				var mu sync.Mutex
				var wg sync.WaitGroup
				atOnce := make(chan struct{}, times)
				if c.Heavy { // each takes 16 MiB
					atOnce = make(chan struct{}, 10)
				}
				for range times {
					wg.Go(func() {
						atOnce <- struct{}{}
						defer func() { <-atOnce }()
						start := time.Now()
						r := h.modern("/mcp/"+slug, "tools/call", fmt.Sprintf(`"name":%q,"arguments":{}`, c.Name))
						if took := time.Since(start); took > timeout+10*time.Second {
							t.Errorf("it took %s", took)
						}
						if whole := fmt.Sprint(r.header, r.body); strings.Contains(whole, zoo.Secret) || r.header.Get("Set-Cookie") != "" || r.header.Get("Access-Control-Allow-Origin") != "" {
							t.Errorf("the client is shown %s", whole)
						}
						code := heardOf(t, r)
						mu.Lock()
						defer mu.Unlock()
						told[code]++
					})
				}
				wg.Wait()
				rows, charged, logged := h.rows(d.ID), int64(0), map[string]int{}
				for _, r := range rows {
					charged += r.charged
					i := slices.IndexFunc(ends, func(e zoo.End) bool { return e.Log == r.code && e.Charged == (r.charged > 0) })
					if i < 0 {
						t.Errorf("the log says %+v", r)
						continue
					}
					logged[ends[i].Fault]++
				}
				if len(rows) != times || fmt.Sprint(logged) != fmt.Sprint(told) {
					t.Errorf("%d calls: the clients are told %v, %d lines say %v", times, told, len(rows), logged)
				}
				if spent := before - h.balance(); spent != charged {
					t.Errorf("%d credits are gone, the log says %d", spent, charged)
				}
				if sent := z.Requests(c.Name) - seen; sent > times-told[upstream.ErrOpen.Code] {
					t.Errorf("%d requests came of %d calls", sent, times)
				}
			}
			visit(fmt.Sprintf("alone-%d", i), 1)
			visit(fmt.Sprintf("herd-%d", i), herd)
		})
	}
	h.t = t
	r := testkit.Must(h.credits.Reconcile(t.Context(), time.Time{}))(t)
	if !r.OK || r.Calls == 0 {
		t.Errorf("%+v", r)
	}
}

func zooLists(t *testing.T) {
	z, h := zooHouse(t)
	before := h.balance()
	missing := map[string]string{}
	tools := 0
	for i, l := range zoo.Lists() {
		slug := fmt.Sprintf("list-%d", i)
		t.Run(l.Name, func(t *testing.T) {
			h.t = t
			h.serve(slug, z.ListURL(l), func(in *catalog.ServerInput) { in.Era, in.Timeout = catalog.Modern, 20*time.Second })
			var wg sync.WaitGroup
			var mu sync.Mutex
			read := map[string]bool{} // most answers are equal, and some are long
			for range 100 {
				wg.Go(func() {
					r := h.modern("/mcp/"+slug, "tools/list", "")
					mu.Lock()
					defer mu.Unlock()
					if read[r.body] {
						return
					}
					read[r.body] = true
					code := heardOf(t, r)
					if code != l.Fault && (l.Fault == "" || code != upstream.ErrOpen.Code) {
						t.Errorf("%q: %.300s", code, r.body)
					}
					if l.Fault != "" {
						return
					}
					var got struct{ Tools []struct{ Name string } }
					decode(t, r.result(t), &got)
					if len(got.Tools) != l.Tools {
						t.Errorf("%d tools", len(got.Tools))
					}
				})
			}
			wg.Wait()
		})
		if l.Fault != "" {
			missing[slug] = l.Fault
		} else {
			tools += l.Tools
		}
	}
	h.t = t
	t.Run("and all of them behind one endpoint: what is usable, and which are not", func(t *testing.T) {
		eventually(t, "the others, without those", func() bool { // some come late on a crowded machine
			var got struct {
				Tools []struct{ Name string }
				Meta  struct {
					Missing []struct{ Server, Reason string } `json:"headgate/missing"`
				} `json:"_meta"`
			}
			decode(t, h.modern("/mcp", "tools/list", "").result(t), &got)
			for _, m := range got.Meta.Missing {
				if m.Reason != "slow" && m.Reason != upstream.ErrOpen.Code && (missing[m.Server] == "" || m.Reason != missing[m.Server]) {
					t.Fatalf("%+v", m)
				}
			}
			return len(got.Tools) == tools && len(got.Meta.Missing) == len(missing)
		})
	})
	testkit.Equal(t, z.Requests(zoo.Fetched), 0)
	testkit.Equal(t, len(h.lines()), 0)
	testkit.Equal(t, h.balance(), before)
}

func zooTeardown(t *testing.T) {
	h := newHouse(t)
	u := newScript(t, false)
	hangs := httptest.NewServer(untilEnd(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			<-r.Context().Done()
			return
		}
		u.ServeHTTP(w, r)
	})))
	t.Cleanup(func() { hangs.CloseClientConnections(); hangs.Close() })
	u.agrees()
	h.serve("hangs", hangs.URL)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			s := h.initialize("/mcp/hangs", "2025-11-25", `{}`)
			s.call("tools/call", `{"name":"x"}`).result(t)
			start := time.Now()
			if r := h.send("DELETE", s.path, "", s.headers()...); r.status != 204 || time.Since(start) > 10*time.Second {
				t.Errorf("%d after %s", r.status, time.Since(start))
			}
		})
	}
	wg.Wait()
}
