package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"

	"headgate/internal/testkit/rawmcp"
)

// parts are what this program can also be. Each says its address in its first
// line, then answers what it is asked on standard input, and ends with it.
var parts = map[string]func() error{"upstream": upstream, "raw upstream": rawUpstream, "proxy": proxy, "program": program}

// listed is how many tools the upstream has.
const listed = 200

// What an upstream is asked for.
const (
	countCalls = ""       // how many tools/call have arrived
	tellAll    = "notify" // to tell its listeners that its tools have changed: how many there are; raw ones only
)

// upstream is the server that everything stands in front of.
func upstream() error {
	s, err := listen(listed)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println(s.addr)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		fmt.Println(s.calls.Load())
	}
	return nil
}

// rawUpstream is a leaner one, which speaks either era and tells of changes. Its
// arguments are the era, both when left out, and how many tools it has.
func rawUpstream() error {
	o := rawmcp.Options{Tools: listed}
	if len(os.Args) > 2 {
		o.Era = map[string]rawmcp.Era{"legacy": rawmcp.Legacy, "modern": rawmcp.Modern}[os.Args[2]]
	}
	if len(os.Args) > 3 {
		o.Tools, _ = strconv.Atoi(os.Args[3])
	}
	s, err := rawmcp.Listen(o)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println(s.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		if lines.Text() == tellAll {
			fmt.Println(s.Notify("notifications/tools/list_changed"))
			continue
		}
		fmt.Println(s.Calls())
	}
	return nil
}

// proxy is httputil.ReverseProxy as one would write it for MCP: the body is read
// first, because one has to route on it, and because the proxy loses calls
// otherwise. Below /copy it answers with as many bytes as the query says.
func proxy() error {
	target, err := url.Parse(os.Args[2])
	if err != nil {
		return err
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.MaxIdleConns = 2000, 0
	forward.Transport = transport
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/", buffered(forward))
	mux.HandleFunc("/copy", copyBytes)
	fmt.Println(l.Addr())
	server := &http.Server{Handler: mux}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func buffered(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 16<<20))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		next.ServeHTTP(w, r)
	})
}

var filler sync.Map // size to bytes

// copyBytes answers a JSON-RPC request with a result of n bytes: what any list
// costs that is ready as bytes.
func copyBytes(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil || n < 0 || n > 16<<20 {
		http.Error(w, "n?", http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	made, ok := filler.Load(n)
	if !ok {
		made, _ = filler.LoadOrStore(n, []byte(`"`+strings.Repeat("x", n)+`"`))
	}
	result, _ := made.([]byte)
	id := rawmcp.Member(body, "id")
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(`{"jsonrpc":"2.0","id":,"result":}`)+len(id)+len(result)))
	for _, part := range [][]byte{[]byte(`{"jsonrpc":"2.0","id":`), id, []byte(`,"result":`), result, []byte(`}`)} {
		if _, err := w.Write(part); err != nil {
			return
		}
	}
}
