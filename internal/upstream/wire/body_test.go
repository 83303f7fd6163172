package wire_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"headgate/internal/upstream/wire"
)

// ragged reads pieces of any size.
type ragged struct {
	from io.Reader
	rnd  *rand.Rand
	most int
}

func (r ragged) Read(p []byte) (int, error) {
	return r.from.Read(p[:min(len(p), 1+r.rnd.IntN(r.most))])
}

// frame writes body with a framing, chunks in pieces of any size.
func frame(kind int, head string, body []byte, rnd *rand.Rand) string {
	var b strings.Builder
	b.WriteString(head)
	switch kind {
	case 0:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	case 1:
		b.WriteString(chunked)
		for len(body) > 0 {
			n := min(len(body), 1+rnd.IntN(1+rnd.IntN(40_000)))
			fmt.Fprintf(&b, "%x\r\n%s\r\n", n, body[:n])
			body = body[n:]
		}
		b.WriteString("0\r\n\r\n")
	default:
		fmt.Fprintf(&b, "\r\n%s", body)
	}
	return b.String()
}

func TestBodies(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	letters := make([]byte, 1<<20)
	for i := range letters {
		letters[i] = byte('a' + rnd.IntN(26))
	}
	body := func(n int) []byte {
		from := rnd.IntN(len(letters) - n)
		return letters[from : from+n]
	}
	t.Run("of any size, framing and pace arrive whole", func(t *testing.T) {
		for i := range 200 {
			want := body(rnd.IntN(1 << (1 + i%19)))
			answer := frame(i%3, okHead, want, rnd)
			r, err := wire.ReadResponse(ragged{strings.NewReader(answer), rnd, 8 << (i % 14)})
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.ReadAll(len(want))
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%d: got %d bytes of %d, %v", i, len(got), len(want), err)
			}
			if r.Header("Content-Type") != "application/json" {
				t.Fatal("the head was lost")
			}
			r.Release()
		}
	})
	t.Run("of one byte too many are refused", func(t *testing.T) {
		for i := range 60 {
			want := body(2 + rnd.IntN(200_000))
			r, err := wire.ReadResponse(ragged{strings.NewReader(frame(i%3, okHead, want, rnd)), rnd, 9000})
			if err != nil {
				t.Fatal(err)
			}
			if got, err := r.ReadAll(len(want) - 1); !errors.Is(err, wire.ErrTooLarge) {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
			r.Release()
		}
	})
	t.Run("that are event streams give the same events", func(t *testing.T) {
		for i := range 60 {
			var stream bytes.Buffer
			var want []string
			for range rnd.IntN(20) {
				data := string(body(rnd.IntN(1 << (1 + i%16))))
				want = append(want, data+"\nx")
				fmt.Fprintf(&stream, ": c\nevent: message\ndata: %s\r\nid: 7\ndata: x\r\n\r\n", data)
			}
			r, err := wire.ReadResponse(ragged{strings.NewReader(frame(i%3, sseHead, stream.Bytes(), rnd)), rnd, 4 << (i % 14)})
			if err != nil {
				t.Fatal(err)
			}
			for n := 0; ; n++ {
				e, err := r.NextEvent(0)
				if err == io.EOF && n == len(want) {
					break
				}
				if err != nil || n >= len(want) || string(e.Data) != want[n] || string(e.Name) != "message" || string(e.ID) != "7" {
					t.Fatalf("%d: event %d of %d: %.40q, %v", i, n, len(want), e.Data, err)
				}
			}
			r.Release()
		}
	})
	t.Run("behind a large head arrive whole", func(t *testing.T) {
		for _, fill := range []int{3900, 4096, 20_000, 60_000} {
			head := "HTTP/1.1 200 OK\r\nMcp-Session-Id: s1\r\nX: " + strings.Repeat("x", fill) + "\r\nContent-Type: application/json\r\n"
			want := body(100_000)
			r, err := wire.ReadResponse(ragged{strings.NewReader(frame(0, head, want, rnd)), rnd, 5000})
			if err != nil {
				t.Fatal(err)
			}
			got, err := r.ReadAll(0)
			if err != nil || !bytes.Equal(got, want) || r.Header("mcp-session-id") != "s1" || r.Header("content-type") != "application/json" {
				t.Fatalf("%d: got %d bytes, %q, %v", fill, len(got), r.Header("mcp-session-id"), err)
			}
			r.Release()
		}
	})
	t.Run("that are only announced cost no memory", func(t *testing.T) {
		r, err := wire.ReadResponse(strings.NewReader(okHead + "Content-Length: 1000000000\r\n\r\nabc"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.ReadAll(2_000_000_000); !errors.Is(err, wire.ErrSent) {
			t.Fatalf("got %v", err)
		}
		if size := r.BufferSize(); size > 1<<20 {
			t.Errorf("%d bytes were set aside", size)
		}
	})
}
