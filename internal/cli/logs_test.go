package cli_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"headgate/internal/cli"
)

// TestFollow holds that nothing logged while a stream was down is left out or
// told twice: the stream of a session ends with its token.
func TestFollow(t *testing.T) {
	line := func(n int) string {
		return fmt.Sprintf(`{"id":"log_%d","createdAt":"2026-07-28T09:30:0%d.000Z","status":"success","serviceName":"S","operation":"op-%d"}`, n, n, n)
	}
	var streams atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/logs/requests" { // newest first
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"success":true,"data":{"logs":[%s,%s]},"meta":{"pagination":{}}}`, line(2), line(1))
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		if streams.Add(1) == 1 {
			_, _ = io.WriteString(w, ": hi\n\nevent: log\ndata: "+line(1)+"\n\n")
			return // as when a token ends
		}
		_, _ = io.WriteString(w, "event: log\ndata: "+line(2)+"\n\nevent: log\ndata: "+line(3)+"\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	out, in := io.Pipe()
	ctx, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	code := make(chan int, 1)
	go func() {
		env := map[string]string{"HEADGATE_KEY": "mcp_sk_x", "HEADGATE_URL": s.URL}
		code <- (&cli.Program{}).Run(ctx, []string{"logs", "-f"}, strings.NewReader(""), in, io.Discard, func(n string) string { return env[n] })
		_ = in.Close()
	}()
	lines := bufio.NewScanner(out)
	for want := 1; want <= 3; want++ {
		if !lines.Scan() || !strings.Contains(lines.Text(), fmt.Sprintf("op-%d  log_%d", want, want)) {
			t.Fatalf("line %d: %q", want, lines.Text())
		}
	}
	interrupt()
	if lines.Scan() {
		t.Errorf("one more: %s", lines.Text())
	}
	select {
	case got := <-code:
		if got != 0 {
			t.Errorf("exit code %d", got)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("an interrupt does not end it")
	}
}
