//go:build linux && (amd64 || arm64)

package stdio_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"headgate/internal/testkit/rawmcp"
)

// children are the programs of these tests: modes of the test binary.
var children = map[string]func(args []string){
	"sdk":     func([]string) { sdkServer() },
	"legacy":  func(args []string) { (&rawServer{}).serve(args) },
	"modern":  func(args []string) { (&rawServer{modern: true}).serve(args) },
	"silent":  func(args []string) { (&rawServer{silent: true}).serve(args) },
	"batches": func(args []string) { (&rawServer{revision: args[0]}).serve(args) },
	"fragile": func(args []string) { (&rawServer{fragile: true}).serve(args) },
	"banner": func(args []string) {
		fmt.Println("Welcome to the best server!")
		fmt.Println()
		(&rawServer{}).serve(args)
	},
	"fast":    func([]string) { fastServer() },
	"mum":     func([]string) { (&rawServer{hushed: true}).serve(nil) },
	"crash":   func([]string) { fmt.Fprintln(os.Stderr, "cannot start"); os.Exit(3) },
	"foreign": func([]string) { fmt.Println("this is no MCP"); _, _ = bufio.NewReader(os.Stdin).ReadString(0) },
}

// rawServer is a stdio server without a library, to misbehave exactly.
type rawServer struct {
	modern, silent, fragile bool
	revision                string // agreed on; the last legacy one

	hushed bool // it reads on, and says nothing any more

	mu  sync.Mutex
	out *bufio.Writer
}

type rawMessage struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name      string                     `json:"name"`
		Level     string                     `json:"level"`
		URI       string                     `json:"uri"`
		RequestID json.RawMessage            `json:"requestId"`
		Arguments map[string]string          `json:"arguments"`
		Meta      map[string]json.RawMessage `json:"_meta"`
	} `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
}

func (s *rawServer) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, format+"\n", args...)
	_ = s.out.Flush()
}

func (s *rawServer) text(id json.RawMessage, text string) {
	quoted, _ := json.Marshal(text)
	s.line(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":%s}]}}`, id, quoted)
}

func (s *rawServer) serve([]string) {
	s.out = bufio.NewWriter(os.Stdout)
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var m rawMessage
		if err := json.Unmarshal(line, &m); err != nil {
			fmt.Fprintln(os.Stderr, "unreadable:", err)
			os.Exit(9)
		}
		s.handle(&m)
	}
}

func (s *rawServer) handle(m *rawMessage) {
	if s.hushed {
		fmt.Fprintln(os.Stderr, "heard", m.Method)
		return
	}
	switch m.Method {
	case "ping":
		fmt.Fprintln(os.Stderr, "pinged")
		s.line(`{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID)
	case "server/discover":
		switch {
		case s.modern:
			s.line(`{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":60000,"cacheScope":"public"}}`, m.ID)
		case s.fragile:
			os.Exit(4)
		case !s.silent:
			s.line(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"Method not found"}}`, m.ID)
		}
	case "initialize":
		if s.modern {
			s.line(`{"jsonrpc":"2.0","id":%s,"error":{"code":-32022,"message":"no","data":{"supported":["2026-07-28"]}}}`, m.ID)
			return
		}
		s.line(`{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":%q,"capabilities":{"tools":{"listChanged":true},"logging":{},"resources":{"subscribe":true}},"serverInfo":{"name":"raw","version":"1"}}}`, m.ID, cmp.Or(s.revision, "2025-11-25"))
	case "tools/list":
		fmt.Fprintln(os.Stderr, "listed")
		s.line(`{"jsonrpc":"2.0","id":%s,"result":{"tools":[{"name":"echo","inputSchema":{"type":"object"}}]}}`, m.ID)
	case "tools/call":
		s.call(m)
	case "logging/setLevel":
		fmt.Fprintln(os.Stderr, "level", m.Params.Level)
		s.line(`{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID)
	case "resources/subscribe", "resources/unsubscribe":
		fmt.Fprintln(os.Stderr, m.Method, m.Params.URI)
		s.line(`{"jsonrpc":"2.0","id":%s,"result":{}}`, m.ID)
	case "notifications/cancelled":
		fmt.Fprintln(os.Stderr, "cancelled", string(m.Params.RequestID))
	case "":
		fmt.Fprintln(os.Stderr, "answer", string(m.ID), string(m.Result), string(m.Error))
	}
}

func (s *rawServer) call(m *rawMessage) {
	args := m.Params.Arguments
	switch m.Params.Name {
	case "echo":
		s.text(m.ID, args["text"])
	case "pid":
		pid, _ := os.Readlink("/proc/self/ns/pid")
		s.text(m.ID, fmt.Sprint(pid, " ", os.Getpid()))
	case "remember":
		_ = os.WriteFile("note", []byte(args["text"]), 0o600)
		s.text(m.ID, "ok")
	case "recall":
		note, _ := os.ReadFile("note")
		s.text(m.ID, string(note))
	case "see":
		text, err := os.ReadFile(args["path"])
		if err != nil {
			text = []byte("nothing")
		}
		s.text(m.ID, string(text))
	case "environment":
		s.text(m.ID, strings.Join(os.Environ(), "\n"))
	case "hold": // until a later call answers for it
		s.mu.Lock()
		held = append(held, m.ID)
		s.mu.Unlock()
		fmt.Fprintln(os.Stderr, "held")
	case "let-go": // late answers first, twice, then our own
		s.mu.Lock()
		late := held
		held = nil
		s.mu.Unlock()
		for _, id := range late {
			s.text(id, "late")
			s.text(id, "late again")
		}
		s.text(m.ID, "own")
	case "batch": // what the arguments say, with $id and $token, in one line
		s.line("%s", strings.NewReplacer("$id", string(m.ID), "$token", string(m.Params.Meta["progressToken"])).Replace(args["batch"]))
	case "batch-held": // the answer to each call that is held, and to this one
		s.mu.Lock()
		list := append(held, m.ID)
		held = nil
		s.mu.Unlock()
		var answers []string
		for _, id := range list {
			answers = append(answers, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"answer to %s"}]}}`, id, id))
		}
		s.line("[%s]", strings.Join(answers, ","))
	case "progress":
		token := m.Params.Meta["progressToken"]
		for i := range 3 {
			s.line(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d,"message":%q}}`, token, i, args["text"])
		}
		s.text(m.ID, args["text"])
	case "ask":
		s.line(`{"jsonrpc":"2.0","id":"q-%s","method":"elicitation/create","params":{"message":"who are you","requestedSchema":{"type":"object","properties":{}}}}`, m.ID)
		fmt.Fprintln(os.Stderr, "asked")
		s.text(m.ID, "asked")
	case "change":
		s.line(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
		s.text(m.ID, "changed")
	case "updated":
		s.line(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":%q}}`, args["uri"])
		s.text(m.ID, "updated")
	case "log":
		s.line(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":%q,"data":"a line"}}`, args["level"])
		s.text(m.ID, "logged")
	case "flood":
		fmt.Fprintln(os.Stderr, "flooding")
		big := strings.Repeat("x", 1<<20)
		for i := 0; ; i++ {
			text := "small"
			if i%100 == 0 {
				text = big
			}
			s.line(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":%q}}`, text)
		}
	case "endless": // a line
		for range 64 {
			if _, err := os.Stdout.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
				return
			}
		}
	case "spin":
		for range 8 {
			go func() {
				for i := 0; ; i++ { // for ever
				}
			}()
		}
		s.text(m.ID, "spinning")
	case "hoard":
		var kept [][]byte
		for {
			kept = append(kept, bytes.Repeat([]byte("x"), 1<<20))
			time.Sleep(time.Millisecond / 2)
			_ = kept
		}
	case "hush":
		s.hushed = true
		s.text(m.ID, "hushed")
	case "pings": // more than its pipe holds, before it reads again
		for i := range 4000 {
			s.line(`{"jsonrpc":"2.0","id":"ping-%d","method":"ping"}`, i)
		}
		s.text(m.ID, "pinged")
	case "exit":
		os.Exit(5)
	case "sleep":
		fmt.Fprintln(os.Stderr, "sleeping")
		time.Sleep(time.Minute)
	case "deaf":
		_ = os.Stdin.Close()
		s.text(m.ID, "ok")
		time.Sleep(time.Minute)
	case "junk":
		s.line("%s", "junk")
		s.line("%s", `{"jsonrpc":"2.0","id":`+string(m.ID)+`,"result":{"content":[],"content":[]}}`)
	case "pretty": // of Windows, with white space
		s.line("%s", "  {\"jsonrpc\":\"2.0\",\r \"id\":"+string(m.ID)+",\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"pretty\"}]}}\r")
	case "big":
		s.text(m.ID, strings.Repeat("b", 8<<20))
	}
}

var held []json.RawMessage

type textInput struct {
	Text string `json:"text,omitempty"`
}

// sdkServer is a server of the official SDK, in both eras.
func sdkServer() {
	s := mcp.NewServer(&mcp.Implementation{Name: "sdk", Version: "1"}, &mcp.ServerOptions{
		SubscribeHandler: func(context.Context, *mcp.SubscribeRequest) error { return nil }, UnsubscribeHandler: func(context.Context, *mcp.UnsubscribeRequest) error { return nil }})
	said := func(text string) (*mcp.CallToolResult, any, error) {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil, nil
	}
	tool := func(name string, run func(ctx context.Context, r *mcp.CallToolRequest, text string) (*mcp.CallToolResult, any, error)) {
		mcp.AddTool(s, &mcp.Tool{Name: name, Description: name}, func(ctx context.Context, r *mcp.CallToolRequest, in textInput) (*mcp.CallToolResult, any, error) {
			return run(ctx, r, in.Text)
		})
	}
	tool("echo", func(_ context.Context, _ *mcp.CallToolRequest, text string) (*mcp.CallToolResult, any, error) {
		return said(text)
	})
	tool("slow", func(ctx context.Context, r *mcp.CallToolRequest, text string) (*mcp.CallToolResult, any, error) {
		for i := range 3 {
			if token := r.Params.GetProgressToken(); token != nil {
				_ = r.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: float64(i), Message: text})
			}
			time.Sleep(5 * time.Millisecond)
		}
		return said(text)
	})
	tool("forever", func(ctx context.Context, _ *mcp.CallToolRequest, _ string) (*mcp.CallToolResult, any, error) {
		fmt.Fprintln(os.Stderr, "waiting")
		<-ctx.Done()
		fmt.Fprintln(os.Stderr, "interrupted")
		return said("never")
	})
	tool("elicit", func(ctx context.Context, r *mcp.CallToolRequest, text string) (*mcp.CallToolResult, any, error) {
		a, err := r.Session.Elicit(ctx, &mcp.ElicitParams{Message: text, RequestedSchema: map[string]any{"type": "object", "properties": map[string]any{"name": map[string]any{"type": "string"}}}})
		if err != nil {
			return nil, nil, err
		}
		return said(fmt.Sprint(a.Action, " ", a.Content["name"]))
	})
	tool("sample", func(ctx context.Context, r *mcp.CallToolRequest, text string) (*mcp.CallToolResult, any, error) {
		a, err := r.Session.CreateMessage(ctx, &mcp.CreateMessageParams{MaxTokens: 10, Messages: []*mcp.SamplingMessage{{Role: "user", Content: &mcp.TextContent{Text: text}}}})
		if err != nil {
			return nil, nil, err
		}
		return said(a.Content.(*mcp.TextContent).Text)
	})
	tool("grow", func(_ context.Context, _ *mcp.CallToolRequest, text string) (*mcp.CallToolResult, any, error) {
		tool := &mcp.Tool{Name: text, InputSchema: map[string]any{"type": "object"}}
		s.AddTool(tool, func(context.Context, *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return &mcp.CallToolResult{}, nil
		})
		return said("grown")
	})
	tool("log", func(ctx context.Context, r *mcp.CallToolRequest, text string) (*mcp.CallToolResult, any, error) {
		_ = r.Session.Log(ctx, &mcp.LoggingMessageParams{Level: "warning", Data: text})
		return said("logged")
	})
	_ = s.Run(context.Background(), &mcp.StdioTransport{})
}

// fastServer answers at next to no cost, for benchmarks. It trusts its caller.
func fastServer() {
	in, out := bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriterSize(os.Stdout, 1<<20)
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return
		}
		id := string(rawmcp.Member(line, "id"))
		switch string(rawmcp.Text(rawmcp.Member(line, "method"))) {
		case "initialize":
			fmt.Fprintf(out, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"fast","version":"1"}}}`+"\n", id)
		case "tools/call":
			_, _ = out.WriteString(`{"jsonrpc":"2.0","id":` + id + `,"result":{"content":[{"type":"text","text":` + string(rawmcp.Member(rawmcp.Member(rawmcp.Member(line, "params"), "arguments"), "text")) + "}]}}\n")
		default:
			if id != "" {
				fmt.Fprintf(out, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no such method"}}`+"\n", id)
			}
		}
		if in.Buffered() == 0 {
			_ = out.Flush()
		}
	}
}
