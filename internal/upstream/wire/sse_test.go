package wire_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"headgate/internal/upstream/wire"
)

var quiet = log.New(io.Discard, "", 0)

type event struct {
	Name, ID, Data string
	Retry          time.Duration
}

// events reads a stream to its end.
func events(tb testing.TB, from io.Reader, max int) (got []event, resume string, err error) {
	tb.Helper()
	r, err := wire.ReadResponse(io.MultiReader(strings.NewReader(sseHead+"\r\n"), from))
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Release()
	for {
		e, err := r.NextEvent(max)
		if err != nil {
			id, retry := r.Resume()
			return got, fmt.Sprintf("%s/%s", id, retry), err
		}
		got = append(got, event{string(e.Name), string(e.ID), string(e.Data), e.Retry})
	}
}

// sameAtAnyPace reads the stream whole and byte by byte.
func sameAtAnyPace(tb testing.TB, stream string) (got []event, resume string) {
	tb.Helper()
	whole, resume, err1 := events(tb, strings.NewReader(stream), 0)
	single, resume2, err2 := events(tb, iotest.OneByteReader(strings.NewReader(stream)), 0)
	if err1 != io.EOF || err2 != io.EOF {
		tb.Fatalf("%q: %v, %v", stream, err1, err2)
	}
	if d := cmp.Diff(whole, single); d != "" || resume != resume2 {
		tb.Fatalf("%q: read byte by byte it differs: %s", stream, d)
	}
	return whole, resume
}

func TestNextEvent(t *testing.T) {
	for _, c := range []struct {
		name, stream string
		want         []event
	}{
		{"LF", "data: a\n\ndata: b\n\n", []event{{Data: "a"}, {Data: "b"}}},
		{"CR LF", "event: e\r\ndata: a\r\n\r\ndata: b\r\n\r\n", []event{{Name: "e", Data: "a"}, {Data: "b"}}},
		{"CR", "data: a\r\rdata: b\r\r", []event{{Data: "a"}, {Data: "b"}}},
		{"all line ends mixed", "data: a\r\ndata: b\rdata: c\n\r\ndata: d\n\r", []event{{Data: "a\nb\nc"}, {Data: "d"}}},
		{"a byte order mark", "\xef\xbb\xbfdata: a\n\n", []event{{Data: "a"}}},
		{"a byte order mark elsewhere is no mark", "data: \xef\xbb\xbfa\n\n\xef\xbb\xbfdata: b\n\n", []event{{Data: "\xef\xbb\xbfa"}}},
		{"one space is dropped", "data:a\n\ndata: b\n\ndata:  c\n\ndata:\td\n\n", []event{{Data: "a"}, {Data: "b"}, {Data: " c"}, {Data: "\td"}}},
		{"comments and unknown fields are ignored", ": hi\ndata: a\n:x\nfoo: bar\nDATA: y\n data: z\ndata : w\n\n", []event{{Data: "a"}}},
		{"an event without data is none", "event: x\n\nid: 1\n\n\n\n: c\n\ndata: a\n\n", []event{{ID: "1", Data: "a"}}},
		{"empty data is data", "data\n\ndata:\n\ndata: \n\n", []event{{}, {}, {}}},
		{"empty lines of data", "data\ndata\n\ndata: a\ndata:\ndata: b\n\n", []event{{Data: "\n"}, {Data: "a\n\nb"}}},
		{"fields among the data", "data: a\nevent: quite a long name\nid: and a long id\ndata: b and more of it\nretry: 10\ndata: c\n\n",
			[]event{{Name: "quite a long name", ID: "and a long id", Data: "a\nb and more of it\nc", Retry: 10 * time.Millisecond}}},
		{"the id stays, the name does not", "id: 1\nevent: e\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", []event{{Name: "e", ID: "1", Data: "a"}, {ID: "1", Data: "b"}, {Data: "c"}}},
		{"an id with NUL is ignored", "id: 1\nid: 2\x003\ndata: a\n\n", []event{{ID: "1", Data: "a"}}},
		{"only digits make a retry", "retry: 7\nretry: 1.5\nretry: -1\nretry:\nretry: 99999999999\ndata: a\n\n", []event{{Data: "a", Retry: 7 * time.Millisecond}}},
		{"the end cuts off an event", "data: a\n\ndata: b\n", []event{{Data: "a"}}},
		{"the end cuts off a line", "data: a\n\ndata: b", []event{{Data: "a"}}},
		{"nothing", "", nil},
		{"colons in data", "data: {\"a\":\"b: c\"}\n\n", []event{{Data: `{"a":"b: c"}`}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _ := sameAtAnyPace(t, c.stream)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
	t.Run("what is needed to resume outlives the last event", func(t *testing.T) {
		if _, resume := sameAtAnyPace(t, "id: 1\ndata\n\nid: 2\nretry: 500\n\n"); resume != "2/500ms" {
			t.Errorf("got %s", resume)
		}
	})
	t.Run("large events among small ones", func(t *testing.T) {
		var stream strings.Builder
		var want []event
		for i := range 60 {
			data := strings.Repeat("x", (i*i*i)%70_000)
			fmt.Fprintf(&stream, ": c\nid: %d\ndata: %s\ndata: end\n\n", i, data)
			want = append(want, event{ID: fmt.Sprint(i), Data: data + "\nend"})
		}
		got, _, err := events(t, iotest.HalfReader(strings.NewReader(stream.String())), 0)
		if d := cmp.Diff(want, got); d != "" || err != io.EOF {
			t.Error(err, d)
		}
	})
	t.Run("an event larger than allowed", func(t *testing.T) {
		for _, stream := range []string{"data: " + strings.Repeat("x", 1001) + "\n\n", "data: " + strings.Repeat("x", 100_000)} {
			if _, _, err := events(t, strings.NewReader(stream), 1000); !errors.Is(err, wire.ErrTooLarge) {
				t.Errorf("got %v", err)
			}
		}
		got, _, err := events(t, strings.NewReader("data: "+strings.Repeat("x", 1000)+"\n\n"), 1000)
		if err != io.EOF || len(got) != 1 {
			t.Errorf("exactly what is allowed: got %d, %v", len(got), err)
		}
	})
	t.Run("many comments take no room", func(t *testing.T) {
		got, _, err := events(t, strings.NewReader(strings.Repeat(": still here\n\n", 100_000)+"data: a\n\n"), 100)
		if err != io.EOF || len(got) != 1 {
			t.Errorf("got %d, %v", len(got), err)
		}
	})
}

// plainEvents is the standard's algorithm, word for word and with no thought of cost.
func plainEvents(stream string) (got []event) {
	stream = strings.TrimPrefix(stream, "\xef\xbb\xbf")
	stream = strings.ReplaceAll(strings.ReplaceAll(stream, "\r\n", "\n"), "\r", "\n")
	lines := strings.Split(stream, "\n")
	var e event
	var data string
	for _, line := range lines[:len(lines)-1] {
		if line == "" {
			if data != "" {
				got = append(got, event{e.Name, e.ID, strings.TrimSuffix(data, "\n"), e.Retry})
			}
			data, e.Name = "", ""
			continue
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "data":
			data += value + "\n"
		case "event":
			e.Name = value
		case "id":
			if !strings.Contains(value, "\x00") {
				e.ID = value
			}
		case "retry":
			var ms int
			if value != "" && len(value) < 10 && strings.Trim(value, "0123456789") == "" {
				fmt.Sscanf(value, "%d", &ms)
				e.Retry = time.Duration(ms) * time.Millisecond
			}
		}
	}
	return got
}

func FuzzEvents(f *testing.F) {
	f.Add("data: a\r\n\r\ndata\r\revent: x\nid: 1\nretry: 5\n\n")
	f.Add("\xef\xbb\xbf:\ndata:a\nevent: b\ndata: c\rid\r\r\n\n")
	f.Fuzz(func(t *testing.T, stream string) {
		got, _ := sameAtAnyPace(t, stream)
		if d := cmp.Diff(plainEvents(stream), got); d != "" {
			t.Errorf("%q: %s", stream, d)
		}
	})
}
