//go:build unix

package wire_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"headgate/internal/netguard"
	"headgate/internal/upstream/wire"
)

// rawUpstream answers every request with the same bytes and does nothing else,
// so that a benchmark measures the client.
func rawUpstream(tb testing.TB, answer string) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { l.Close() })
	out := []byte(answer)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := make([]byte, 8<<10)
				for have := 0; ; {
					n, err := c.Read(in[have:])
					if err != nil {
						return
					}
					if have += n; !bytes.HasSuffix(in[:have], []byte("}")) {
						continue
					}
					have = 0
					if _, err := c.Write(out); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "http://" + l.Addr().String() + "/mcp"
}

const benchBody = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":{"text":"0123456789012345678901234567890123456789"}}}`

func jsonAnswer(n int) string {
	body := `{"jsonrpc":"2.0","id":1,"result":"` + strings.Repeat("x", n) + `"}`
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nDate: Thu, 20 Nov 2026 10:00:00 GMT\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func sseAnswer(n int) string {
	event := `event: message` + "\n" + `data: {"jsonrpc":"2.0","id":1,"result":"` + strings.Repeat("x", n) + `"}` + "\n\n"
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(event), event)
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkExchange compares the clients; the raw upstream's share of the
// processor time is the same for each.
func BenchmarkExchange(b *testing.B) {
	guard := netguard.New(netguard.Policy{Loopback: true})
	for _, answer := range []struct{ name, bytes string }{
		{"json-64B", jsonAnswer(64)}, {"json-4KiB", jsonAnswer(4 << 10)}, {"json-64KiB", jsonAnswer(64 << 10)}, {"sse-64B", sseAnswer(64)},
	} {
		run := func(name string, do func(url string) func(*testing.B)) {
			b.Run(answer.name+"/"+name, func(b *testing.B) {
				once := do(rawUpstream(b, answer.bytes))
				once(b)
				b.ReportAllocs()
				start := cpu()
				for b.Loop() {
					once(b)
				}
				b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op")
			})
		}
		exchange := func(c wire.Client) func(url string) func(b *testing.B) {
			return func(url string) func(b *testing.B) {
				r := &wire.Request{Target: target(b, url), Body: [][]byte{[]byte(benchBody)}}
				ctx, cancel := context.WithCancel(context.Background())
				b.Cleanup(cancel)
				return func(b *testing.B) {
					r.Deadline = time.Now().Add(30 * time.Second)
					resp, err := c.Do(ctx, r)
					if err != nil {
						b.Fatal(err)
					}
					if resp.Kind == wire.SSE {
						_, err = resp.NextEvent(0)
					} else {
						_, err = resp.ReadAll(0)
					}
					if err != nil {
						b.Fatal(err)
					}
					resp.Release()
				}
			}
		}
		pool := wire.NewPool(guard.DialContext, wire.Options{})
		defer pool.Close()
		run("pool", exchange(pool))
		run("nethttp", func(url string) func(b *testing.B) {
			client := &http.Transport{DialContext: guard.DialContext, DisableCompression: true}
			b.Cleanup(client.CloseIdleConnections)
			return func(b *testing.B) {
				ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
				defer cancel()
				req, _ := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(benchBody))
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Accept", "application/json, text/event-stream")
				resp, err := client.RoundTrip(req)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
