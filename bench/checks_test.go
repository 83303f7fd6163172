package main

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"headgate/internal/db"
	"headgate/internal/testkit"
	"headgate/internal/testkit/rawmcp"
)

// raw is a target of an era's server.
func raw(t *testing.T, o rawmcp.Options) (*rawmcp.Server, *target) {
	t.Helper()
	s := testkit.Must(rawmcp.Listen(o))(t)
	t.Cleanup(s.Close)
	return s, &target{name: t.Name(), addr: s.Addr(), path: "/mcp", tool: "echo"}
}

func TestEraOfCallers(t *testing.T) {
	for _, c := range []struct {
		era    rawmcp.Era
		modern bool
		wrong  int64
	}{{rawmcp.Legacy, false, 0}, {rawmcp.Modern, true, 0}, {rawmcp.Legacy, true, 2}} {
		t.Run(fmt.Sprintf("era %d asked by a modern client: %v", c.era, c.modern), func(t *testing.T) {
			_, target := raw(t, rawmcp.Options{Era: c.era})
			target.modern = c.modern
			k := &caller{target: target, q: echoOf("echo", 64)}
			testkit.Must0(t, k.reopen())
			defer closeAll([]*caller{k})
			wrong := &tally{}
			for range 2 {
				k.call(wrong, time.Now())
			}
			testkit.Equal(t, []int64{wrong.mixed.Load(), wrong.lost.Load()}, []int64{c.wrong, 0})
		})
	}
	t.Run("a legacy client begins no session with a modern server", func(t *testing.T) {
		_, target := raw(t, rawmcp.Options{Era: rawmcp.Modern})
		if _, _, err := target.open(); err == nil {
			t.Error("it did")
		}
	})
}

func TestNewSessions(t *testing.T) {
	s, target := raw(t, rawmcp.Options{})
	wrong := &tally{}
	got := beginnings(t.Context(), target, wrong, 100*time.Millisecond)
	if got.calls == 0 || int64(got.calls) != s.Sessions() || int64(got.calls) != s.Calls() || wrong.total() != 0 {
		t.Errorf("%d timed, %d sessions, %d calls; %s", got.calls, s.Sessions(), s.Calls(), wrong)
	}
	s.Close()
	beginnings(t.Context(), target, wrong, time.Minute) // it gives up at once
	testkit.Equal(t, wrong.lost.Load(), int64(1))
}

func TestIdleStreams(t *testing.T) {
	s, target := raw(t, rawmcp.Options{Era: rawmcp.Legacy})
	all := testkit.Must(listeners(target, []string{"a", "b"}, 3))(t)
	defer func() {
		for _, s := range all {
			_ = s.conn.Close()
		}
	}()
	testkit.Equal(t, len(all), 6)
	testkit.Must0(t, until(t.Context(), time.Minute, func() bool { return s.Notify("notifications/tools/list_changed") == 6 }))
	for _, i := range all {
		testkit.Must0(t, i.hear("notifications/tools/list_changed"))
	}
	s.Close()
	for _, i := range all {
		if i.hear("notifications/prompts/list_changed") == nil {
			t.Error("a stream that has ended heard something")
		}
	}
	if _, err := listeners(target, []string{"a"}, 2); err == nil {
		t.Error("streams of a server that has gone")
	}
}

func TestHungAnswersNothing(t *testing.T) {
	l := testkit.Must(hung())(t)
	defer l.Close()
	c := testkit.Must(net.Dial("tcp", l.Addr().String()))(t)
	defer c.Close()
	testkit.Must(c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")))(t)
	testkit.Must0(t, c.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}

func TestCompleteLists(t *testing.T) {
	list := func(servers int, missing string) []byte {
		return []byte(`{"result":{"tools":[` + strings.Repeat(`{"name":"s01_echo"},`, servers*fanTools) + `{"name":"demo_add"}],"_meta":{` + missing + `}}}`)
	}
	const named = `"headgate/missing":[{"reason":"slow","server":"s10"}]`
	for _, c := range []struct {
		name    string
		list    []byte
		missing bool
		ok      bool
	}{
		{"all there", list(fanned, ""), false, true},
		{"one missing and named", list(fanned-1, named), true, true},
		{"one missing and not named", list(fanned-1, ""), true, false},
		{"one named that is well", list(fanned, named), false, false},
		{"two missing", list(fanned-2, named), true, false},
		{"none missing where one hangs", list(fanned, named), true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := (&caller{seen: c.list}).complete(c.missing); (err == nil) != c.ok {
				t.Error(err)
			}
		})
	}
}

func TestInside(t *testing.T) {
	b := &bench{ctx: t.Context(), quick: true, rounds: 1, round: 50 * time.Millisecond, dir: t.TempDir(), values: map[string][]float64{}}
	in := testkit.Must(b.inside("inside", ""))(t)
	defer func() { testkit.Must0(t, in.stop()) }()
	testkit.Must0(t, b.keys(in))
	testkit.Must0(t, b.ledger(ledgerSQLite, in))
	if b.wrong.total() != 0 || median(b.values[keyCheck]) <= 0 || median(b.values[ledgerSQLite]) <= 0 {
		t.Fatalf("%s; %v", &b.wrong, b.values)
	}
	settled := testkit.Must(db.Value[int64](t.Context(), in.Store, `SELECT COUNT(*) FROM entries WHERE type = 'usage'`))(t)
	testkit.Must0(t, b.audit(in, settled))
	testkit.Equal(t, b.wrong.total(), int64(0))
	testkit.Must0(t, b.audit(in, settled+3))
	testkit.Equal(t, b.wrong.lost.Load(), int64(3))
	testkit.Must(db.Exec(t.Context(), in.Store, `UPDATE calls SET credits_charged = 2 WHERE id = (SELECT MAX(id) FROM calls)`))(t)
	testkit.Must0(t, b.audit(in, settled))
	testkit.Equal(t, b.wrong.lost.Load(), int64(4))
}

func TestBars(t *testing.T) {
	t.Run("no two have one name", func(t *testing.T) {
		seen := map[string]bool{}
		for _, r := range bars {
			if seen[r.name] {
				t.Error(r.name)
			}
			seen[r.name] = true
		}
	})
	t.Run("what was not measured is said to be so", func(t *testing.T) {
		b := &bench{results: map[key][]sample{}, values: map[string][]float64{}}
		for _, r := range bars {
			testkit.Equal(t, r.verdict(r.value(b)), "not measured")
		}
	})
	for _, c := range []struct {
		atMost  bool
		value   float64
		verdict string
	}{{false, 0.3, "goal"}, {false, 0.2, "ok"}, {false, 0.1, "**below**"}, {true, 0.1, "goal"}, {true, 0.2, "ok"}, {true, 0.3, "**below**"}} {
		r := bar{floor: 0.2, goal: 0.3, atMost: c.atMost}
		if c.atMost {
			r.goal = 0.1
		}
		testkit.Equal(t, r.verdict(c.value), c.verdict)
	}
	t.Run("a ratio is of the rounds, and their median", func(t *testing.T) {
		b := &bench{results: map[key][]sample{
			{"m", "x"}: {{rate: 1}, {rate: 8}, {rate: 9}, {rate: 5}},
			{"m", "y"}: {{rate: 2}, {rate: 2}, {rate: 1}, {rate: 0}},
		}}
		testkit.Equal(t, b.share("m", "x", "y"), 4.0)
		testkit.Equal(t, b.share("m", "x", "z"), 0.0)
	})
}

func TestPrint(t *testing.T) {
	b := &bench{rounds: 1, results: map[key][]sample{}, values: map[string][]float64{keyCheck: {0.25}}, targets: []*target{{name: direct}, {name: durable}}}
	for _, name := range []string{direct, durable} {
		k := key{newSession, name}
		b.results[k], b.order = []sample{{rate: 100, p50: map[string]time.Duration{direct: time.Millisecond, durable: 4 * time.Millisecond}[name], p99: time.Second}}, append(b.order, k)
	}
	var out bytes.Buffer
	b.print(&out, true)
	for _, want := range []string{"| new sessions: headgate | 4 | 1000 | 3 |", "| a new session with its first call: added p50 | 3 ms | 2 | 2 | **below** |",
		"p99 | 0.25 ms | 0.2 | 0.2 | **below** |", "| idle memory | - | 40 | 40 | not measured |", "Answers: 0 wrong or mixed up"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, out.String())
		}
	}
	out.Reset()
	b.some = true
	b.print(&out, false)
	if text := out.String(); strings.Contains(text, "not measured") || strings.Contains(text, "|") || !strings.Contains(text, "new sessions: headgate   4       1000    3") {
		t.Error(text)
	}
}
