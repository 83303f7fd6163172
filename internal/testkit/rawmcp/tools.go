package rawmcp

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"
)

// call is a tools/call request.
type call struct {
	id, params []byte
	modern     bool
}

// tool appends its answer to out, or writes to the connection by itself and
// returns an empty out. An error ends the connection.
type tool func(c net.Conn, k call, out []byte) ([]byte, error)

// The tools, by what they do. Those that misbehave do it only when called, so
// one server serves well-behaved callers and the others at once.
var tools = map[string]tool{
	"echo":       echo,      // {"text"}: returns it
	"echo_sse":   echoSSE,   // the same as the one event of a stream
	"progress":   progress,  // {"steps"}: a stream of that many progress events, then the answer
	"slow":       slow,      // {"ms","text"}: returns text after that time
	"tool_error": toolError, // a result with isError
	"rpc_error":  rpcError,  // a JSON-RPC error with data
	"status":     status,    // {"code"}: an HTTP status with a text body
	"hang":       hang,      // no answer at all
	"dribble":    dribble,   // the right answer, a byte every 100 ms
	"garbage":    garbage,   // an answer that is no JSON
	"wrong_id":   wrongID,   // somebody else's answer
	"huge":       huge,      // an answer of 1 GiB
	"die":        die,       // half an answer, then the end of the connection
}

func callTool(c net.Conn, k call, out []byte) ([]byte, error) {
	name := Text(Member(k.params, "name"))
	if f, ok := tools[string(name)]; ok {
		return f(c, k, out)
	}
	return failure(out, "200 OK", k.id, -32602, "unknown tool"), nil
}

// argument returns an argument of the call as it is written.
func (k call) argument(name string) []byte { return Member(Member(k.params, "arguments"), name) }

func (k call) number(name string) int {
	n, _ := strconv.Atoi(string(k.argument(name))) // 0 when it is none
	return n
}

const (
	opening       = `{"jsonrpc":"2.0","id":`
	textOpening   = `,"result":{"content":[{"type":"text","text":"`
	textClosing   = `"}]}}`
	modernOpening = `,"result":{"resultType":"complete","content":[{"type":"text","text":"`
)

// answer is the message that returns text, in parts, to be copied only once.
func (k call) answer(text []byte) [][]byte {
	middle := textOpening
	if k.modern {
		middle = modernOpening
	}
	return [][]byte{[]byte(opening), k.id, []byte(middle), text, []byte(textClosing)}
}

func echo(_ net.Conn, k call, out []byte) ([]byte, error) {
	return response(out, "200 OK", jsonType, k.answer(Text(k.argument("text")))...), nil
}

func echoSSE(_ net.Conn, k call, out []byte) ([]byte, error) {
	out = append(out, stream...)
	out = event(out, k.answer(Text(k.argument("text")))...)
	return append(out, lastPart...), nil
}

func progress(c net.Conn, k call, out []byte) ([]byte, error) {
	token := Member(Member(k.params, "_meta"), "progressToken")
	if token == nil {
		token = []byte("null")
	}
	out = append(out, stream...)
	for i := range k.number("steps") {
		out = event(out, fmt.Appendf(nil, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":%s,"progress":%d}}`, token, i+1))
		if _, err := c.Write(out); err != nil { // each step at once, as a slow tool would
			return nil, err
		}
		out = out[:0]
	}
	out = event(out, k.answer([]byte("done"))...)
	return append(out, lastPart...), nil
}

func slow(c net.Conn, k call, out []byte) ([]byte, error) {
	time.Sleep(time.Duration(k.number("ms")) * time.Millisecond)
	return echo(c, k, out)
}

func toolError(_ net.Conn, k call, out []byte) ([]byte, error) {
	return result(out, "", k.id, []byte(`{"content":[{"type":"text","text":"it did not work"}],"isError":true}`)), nil
}

func rpcError(_ net.Conn, k call, out []byte) ([]byte, error) {
	return failure(out, "200 OK", k.id, -32602, "bad argument", `{"big":9007199254740993}`), nil
}

func status(_ net.Conn, k call, out []byte) ([]byte, error) {
	code := k.number("code")
	if code < 200 || code > 599 {
		code = 500
	}
	return response(out, strconv.Itoa(code)+" Status", "Content-Type: text/plain\r\n", []byte("asked for")), nil
}

func hang(c net.Conn, _ call, out []byte) ([]byte, error) { return out, gone(c) }

func dribble(c net.Conn, k call, out []byte) ([]byte, error) {
	out, _ = echo(c, k, out)
	for i := range out {
		if _, err := c.Write(out[i : i+1]); err != nil {
			return nil, err
		}
		time.Sleep(100 * time.Millisecond)
	}
	return out[:0], nil
}

func garbage(_ net.Conn, _ call, out []byte) ([]byte, error) {
	return response(out, "200 OK", jsonType, []byte(`{"jsonrpc":"2.0","id":`)), nil
}

func wrongID(c net.Conn, k call, out []byte) ([]byte, error) {
	k.id = []byte("987654321")
	return echo(c, k, out)
}

func huge(c net.Conn, k call, out []byte) ([]byte, error) {
	const size = 1 << 30
	out = append(out, "HTTP/1.1 200 OK\r\n"+jsonType+"Content-Length: "...)
	out = strconv.AppendInt(out, size, 10)
	out = append(out, "\r\n\r\n"...)
	head := len(out)
	out = append(append(append(out, opening...), k.id...), textOpening...)
	end := []byte(textClosing)
	part := make([]byte, 64<<10)
	for i := range part {
		part[i] = 'a'
	}
	for left := size - (len(out) - head) - len(end); ; left -= len(part) {
		if _, err := c.Write(out); err != nil {
			return nil, err
		}
		if left <= len(part) {
			return append(slices.Clone(part[:left]), end...), nil
		}
		out = part
	}
}

func die(c net.Conn, k call, out []byte) ([]byte, error) {
	out, _ = echo(c, k, out)
	_, _ = c.Write(out[:len(out)-10])
	return nil, net.ErrClosed
}

// result appends a JSON-RPC result.
func result(out []byte, head string, id, value []byte) []byte {
	return response(out, "200 OK", jsonType+head, []byte(opening), id, []byte(`,"result":`), value, []byte("}"))
}

// failure appends a JSON-RPC error; data is its optional JSON.
func failure(out []byte, status string, id []byte, code int, message string, data ...string) []byte {
	more := ""
	if len(data) > 0 {
		more = `,"data":` + data[0]
	}
	return response(out, status, jsonType, []byte(opening), id, fmt.Appendf(nil, `,"error":{"code":%d,"message":%q%s}}`, code, message, more))
}

// List returns the result of tools/list: the tools of the table, by name, and as
// many more as make n. A list looks the same in both eras; the older one
// ignores what the newer one wants.
func List(n int) []byte {
	names := make([]string, 0, max(n, len(tools)))
	for name := range tools {
		names = append(names, name)
	}
	slices.Sort(names)
	for i := 0; len(names) < n; i++ {
		names = append(names, fmt.Sprintf("tool_%03d", i))
	}
	list := []byte(`{"resultType":"complete","ttlMs":60000,"cacheScope":"public","tools":[`)
	for i, name := range names {
		if i > 0 {
			list = append(list, ',')
		}
		list = fmt.Appendf(list, `{"name":%q,"description":"The tool %s of the raw upstream, with a description of the usual length, so that a list weighs what lists weigh.",`+
			`"inputSchema":{"type":"object","properties":{"text":{"type":"string","description":"Text to return as it is"},"steps":{"type":"integer","minimum":0}}}}`, name, name)
	}
	return append(list, "]}"...)
}
