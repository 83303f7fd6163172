package zoo

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
)

// End is how a call may end.
type End struct {
	Fault   string // the code of what the caller is told; "" when the server's answer passes
	Log     string // the code in the call log; "" for success
	Charged bool
}

var (
	answered = End{Charged: true}
	sayingNo = End{Log: "upstream_rejected", Charged: true} // a JSON-RPC error, which passes
	refusing = End{Fault: "upstream.rejected", Log: "upstream_rejected", Charged: true}
)

// blamed is the end of a call by the server's fault.
func blamed(code string) End { return End{Fault: code, Log: code} }

// Cage is one way to answer a call of the tool with its name.
type Cage struct {
	Name    string
	Kind    Kind
	Ends    []End // one of them
	Endless bool  // until the caller's deadline
	Heavy   bool  // as much as is taken

	door door
	do   func(v *visit)
}

// Timeout is the time to give a call of an endless cage.
const Timeout = 400 * time.Millisecond

// Secret is what a server registered with the header Zoo-Secret is sent, and
// what must never be found where people look who may not see it.
const Secret = "zoo-0123456789abcdef"

const (
	good   = `{"jsonrpc":"2.0","id":$,"result":{"content":[{"type":"text","text":"fine"}]}}`
	opened = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	flowed = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
)

// body answers with a JSON text in which $ is the id.
func body(text string) func(*visit) {
	return func(v *visit) { v.answer("200 OK", "application/json", strings.ReplaceAll(text, "$", v.id)) }
}

// status answers with a status and a text that is no JSON.
func status(line string) func(*visit) {
	return func(v *visit) { v.answer(line, "text/plain", "no") }
}

// sse answers with events, in which $ is the id, and the stream's end.
func sse(list ...string) func(*visit) {
	return func(v *visit) {
		var b strings.Builder
		for _, e := range list {
			fmt.Fprintf(&b, "data: %s\n\n", strings.ReplaceAll(e, "$", v.id))
		}
		v.answer("200 OK", "text/event-stream", b.String())
	}
}

// head sends the beginning of an answer and goes on.
func head(text string, then func(*visit)) func(*visit) {
	return func(v *visit) {
		if v.say(text) {
			then(v)
		}
	}
}

// every says a text again and again.
func every(pause time.Duration, text string) func(*visit) {
	return func(v *visit) {
		for v.say(text) {
			time.Sleep(pause)
		}
	}
}

// pour says a text as fast as it is taken.
func pour(text string) func(*visit) {
	return func(v *visit) {
		chunk := string(bytes.Repeat([]byte(text), 1+(64<<10)/len(text)))
		for v.say(chunk) {
		}
	}
}

func hang(v *visit) { _, _ = io.Copy(io.Discard, v.conn) }

func leave(v *visit) { v.conn.Close() }

// Cages returns all of them. Those who walk through give each a server of its
// own: five failures in a row open its breaker.
func Cages() []Cage {
	timeout, nonsense, lost, large := blamed("upstream.timeout"), blamed("upstream.nonsense"), blamed("upstream.lost"), blamed("upstream.too_large")
	unreachable := blamed("upstream.unreachable")
	list := []Cage{
		{Name: "never accepts", Kind: NeverAccepts, door: full, Endless: true, Ends: []End{unreachable, timeout}},
		{Name: "hangs", Kind: Hangs, Endless: true, do: hang, Ends: []End{timeout}},
		{Name: "dribbles", Kind: Dribbles, Endless: true, do: func(v *visit) {
			for _, b := range opened + strings.Repeat("X: 1\r\n", 1000) {
				if !v.say(string(b)) {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}, Ends: []End{timeout}},
		{Name: "a head, then silence", Kind: HeadAlone, Endless: true, do: head(opened+"Content-Length: 9\r\n\r\n", hang), Ends: []End{timeout}},
		{Name: "comments for ever", Kind: Comments, Endless: true, do: head(flowed, every(5*time.Millisecond, ": still here\n\n")), Ends: []End{timeout}},
		{Name: "around the deadline", Kind: OnTheDot, Endless: true, do: func(v *visit) {
			time.Sleep(Timeout - 10*time.Millisecond + rand.N(12*time.Millisecond))
			body(good)(v)
		}, Ends: []End{timeout, answered}},
		{Name: "around the deadline, in a stream", Kind: OnTheDot, Endless: true, do: head(flowed, func(v *visit) {
			time.Sleep(Timeout - 10*time.Millisecond + rand.N(12*time.Millisecond))
			v.say("data: " + strings.ReplaceAll(good, "$", v.id) + "\n\n")
			leave(v)
		}), Ends: []End{timeout, answered}},

		{Name: "1 GB with a length", Kind: Endless, do: head(opened+"Content-Length: 1073741824\r\n\r\n", pour("x")), Ends: []End{large}},
		{Name: "1 GB without", Kind: Endless, Heavy: true, do: head(opened+"\r\n", pour("x")), Ends: []End{large}},
		{Name: "an endless line of a stream", Kind: EndlessLine, Heavy: true, do: head(flowed+"data: ", pour("x")), Ends: []End{large}},
		{Name: "an endless stream of notifications", Kind: EndlessSSE, Endless: true, Heavy: true,
			do: head(flowed, pour(`data: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}`+"\n\n")), Ends: []End{timeout}},
		{Name: "packed", Kind: Packed, do: head(opened+"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b", leave), Ends: []End{nonsense}},

		{Name: "truncated JSON", Kind: BadJSON, do: body(`{"jsonrpc":"2.0","id":$,"result":{`), Ends: []End{nonsense}},
		{Name: "a key twice", Kind: BadJSON, do: body(`{"jsonrpc":"2.0","id":$,"id":$,"result":{}}`), Ends: []End{nonsense}},
		{Name: "keys in the wrong case", Kind: BadJSON, do: body(`{"jsonrpc":"2.0","ID":$,"Result":{}}`), Ends: []End{nonsense}},
		{Name: "bad UTF-8", Kind: BadUTF8, do: body("{\"jsonrpc\":\"2.0\",\"id\":$,\"result\":{\"a\":\"\xff\"}}"), Ends: []End{nonsense}},
		{Name: "a web page", Kind: WebPage, do: func(v *visit) { v.answer("200 OK", "text/html", "<html>") }, Ends: []End{nonsense}},
		{Name: "a page that says it is JSON", Kind: WebPage, do: func(v *visit) { v.answer("200 OK", "application/json", "<html>") }, Ends: []End{nonsense}},
		{Name: "201 and an odd media type", Kind: OddStatus, do: func(v *visit) {
			v.answer("201 Created", "Application/JSON ;charset=utf-8", strings.ReplaceAll(good, "$", v.id))
		}, Ends: []End{answered}},
		{Name: "202", Kind: OddStatus, do: status("202 Accepted"), Ends: []End{nonsense}},
		{Name: "204", Kind: OddStatus, do: func(v *visit) { v.say("HTTP/1.1 204 No Content\r\n\r\n") }, Ends: []End{nonsense}},
		{Name: "no media type", Kind: OddStatus, do: func(v *visit) { v.say("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}") }, Ends: []End{nonsense}},
		{Name: "a wrong id", Kind: OddID, do: body(`{"jsonrpc":"2.0","id":99,"result":{}}`), Ends: []End{nonsense}},
		{Name: "no id", Kind: OddID, do: body(`{"jsonrpc":"2.0","result":{}}`), Ends: []End{nonsense}},
		{Name: "a null id", Kind: OddID, do: body(`{"jsonrpc":"2.0","id":null,"result":{}}`), Ends: []End{nonsense}},
		{Name: "the id as a text", Kind: OddID, do: body(`{"jsonrpc":"2.0","id":"$","result":{}}`), Ends: []End{nonsense}},
		{Name: "the id as a fraction", Kind: OddID, do: body(`{"jsonrpc":"2.0","id":$.0,"result":{}}`), Ends: []End{nonsense}},
		{Name: "two answers in a stream", Kind: OddID, do: sse(good, good), Ends: []End{answered}},
		{Name: "somebody else's answer in a stream", Kind: OddID, do: sse(`{"jsonrpc":"2.0","id":77,"result":{}}`, good), Ends: []End{nonsense}},
		{Name: "a result and an error", Kind: TwoEnds, do: body(`{"jsonrpc":"2.0","id":$,"result":{},"error":{"code":1,"message":"x"}}`), Ends: []End{nonsense}},
		{Name: "a batch", Kind: OddID, do: body(`[` + good + `]`), Ends: []End{nonsense}},
		{Name: "a request for an answer", Kind: OddID, do: body(`{"jsonrpc":"2.0","id":$,"method":"ping"}`), Ends: []End{nonsense}},
		{Name: "depth 100,000", Kind: Deep, do: body(`{"jsonrpc":"2.0","id":$,"result":{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + `}}`), Ends: []End{nonsense}},
		{Name: "an unknown result type", Kind: UnknownEnd, do: body(`{"jsonrpc":"2.0","id":$,"result":{"resultType":"x-new"}}`), Ends: []End{answered}},
		{Name: "numbers beyond 2^53", Kind: UnknownEnd, do: body(`{"jsonrpc":"2.0","id":$,"result":{"content":[{"type":"text","text":"fine"}],"n":9007199254740993}}`), Ends: []End{answered}},
		{Name: "the answer as an event", Kind: OddStatus, do: sse(good), Ends: []End{answered}},
		{Name: "garbage in a stream", Kind: WebPage, do: sse(`<html>`), Ends: []End{nonsense}},
		{Name: "no HTTP at all", Kind: WebPage, do: head("SSH-2.0-OpenSSH_9.6\r\n\r\n", hang), Ends: []End{nonsense}},

		{Name: "a stream that ends without an answer", Kind: Closed, do: sse(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`), Ends: []End{lost}},
		{Name: "a close in the middle of the body", Kind: Closed, do: head(opened+"Content-Length: 100\r\n\r\n{", leave), Ends: []End{lost}},
		{Name: "a close in the middle of a stream", Kind: Closed, do: head("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n5\r\ndata:", leave), Ends: []End{lost}},
		{Name: "a reset", Kind: Reset, do: (*visit).reset, Ends: []End{lost}},
		{Name: "a reset in the middle", Kind: Reset, do: head(opened+"Content-Length: 100\r\n\r\n{", (*visit).reset), Ends: []End{lost}},
		{Name: "400", Kind: OddStatus, do: status("400 Bad Request"), Ends: []End{refusing}},
		{Name: "401", Kind: SignIn, do: status("401 Unauthorized"), Ends: []End{blamed("upstream.auth")}},
		{Name: "403", Kind: OddStatus, do: status("403 Forbidden"), Ends: []End{refusing}},
		{Name: "404", Kind: OddStatus, do: status("404 Not Found"), Ends: []End{refusing}},
		{Name: "405", Kind: OddStatus, do: status("405 Method Not Allowed"), Ends: []End{refusing}},
		{Name: "429 without Retry-After", Kind: Throttled, do: status("429 Too Many Requests"), Ends: []End{refusing}},
		{Name: "500", Kind: OddStatus, do: status("500 Internal Server Error"), Ends: []End{blamed("upstream.failed")}},
		{Name: "503", Kind: OddStatus, do: status("503 Service Unavailable"), Ends: []End{blamed("upstream.failed")}},
		{Name: "a redirect inside", Kind: Redirects, do: func(v *visit) {
			v.say("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")
		}, Ends: []End{nonsense}},
		{Name: "a certificate that has expired", Kind: Certificate, door: expired, do: body(good), Ends: []End{unreachable}},
		{Name: "a certificate of another name", Kind: Certificate, door: misnamed, do: body(good), Ends: []End{unreachable}},
		{Name: "a certificate nobody else signed", Kind: Certificate, door: selfSigned, do: body(good), Ends: []End{unreachable}},
		{Name: "a good certificate", Kind: Certificate, door: trusted, do: body(good), Ends: []End{answered}}, // so that those say something
		{Name: "a name that resolves now and then", Kind: NameComes, door: flapping, do: body(good), Ends: []End{unreachable, answered}},
		{Name: "HTTP/2 and a GOAWAY", Kind: HTTP2, do: head(goAway, leave), Ends: []End{lost}},
		{Name: "HTTP/2 and a GOAWAY, over TLS", Kind: HTTP2, door: trusted, do: head(goAway, leave), Ends: []End{lost}},
		{Name: "HTTP/2 and a flood of resets", Kind: HTTP2, do: head(settings, pour(resets)), Ends: []End{nonsense}},

		{Name: "a JSON-RPC error", Kind: OddStatus, do: body(`{"jsonrpc":"2.0","id":$,"error":{"code":-32602,"message":"x","data":{"n":9007199254740993}}}`), Ends: []End{sayingNo}},
		{Name: "a JSON-RPC error with 400", Kind: OddStatus, do: func(v *visit) {
			v.answer("400 Bad Request", "application/json", `{"jsonrpc":"2.0","id":`+v.id+`,"error":{"code":-32602,"message":"x"}}`)
		}, Ends: []End{sayingNo}},
		{Name: "a JSON-RPC error with 400 and no id", Kind: OddID, do: func(v *visit) {
			v.answer("400 Bad Request", "application/json", `{"jsonrpc":"2.0","id":null,"error":{"code":-32602,"message":"x","data":[1]}}`)
		}, Ends: []End{sayingNo}},
		{Name: "a JSON-RPC error with 400 for somebody else", Kind: OddID, do: func(v *visit) {
			v.answer("400 Bad Request", "application/json", `{"jsonrpc":"2.0","id":77,"error":{"code":-32602,"message":"x"}}`)
		}, Ends: []End{nonsense}},

		{Name: "its secret, on a page", Kind: Reflecting, do: func(v *visit) { v.answer("500 "+v.secret, "text/plain", v.secret) }, Ends: []End{blamed("upstream.failed")}},
		{Name: "its secret, as a challenge", Kind: Reflecting, do: func(v *visit) {
			v.say("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"" + v.secret + "\"\r\nContent-Length: 0\r\n\r\n")
		}, Ends: []End{blamed("upstream.auth")}},
		{Name: "its secret, in a refusal", Kind: Reflecting, do: func(v *visit) { v.answer("403 "+v.secret, "text/html", v.secret) }, Ends: []End{refusing}},
		{Name: "cookies and CORS", Kind: Headers, do: func(v *visit) {
			b := strings.ReplaceAll(good, "$", v.id)
			v.say(fmt.Sprintf("HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nAccess-Control-Allow-Origin: *\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(b), b))
		}, Ends: []End{answered}},
		{Name: "uninvited requests", Kind: Uninvited, do: sse(`{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}`, `{"jsonrpc":"2.0","id":2,"method":"roots/list"}`,
			`{"jsonrpc":"2.0","id":3,"method":"elicitation/create","params":{"message":"your password?","requestedSchema":{}}}`, good), Ends: []End{answered}},
	}
	return list
}

// Frames of HTTP/2 that nobody has asked for: each has a length of three bytes,
// a type, flags and a stream.
const (
	settings = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	goAway   = settings + "\x00\x00\x08\x07\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x0b"
	resets   = "\x00\x00\x04\x03\x00\x00\x00\x00\x01" + "\x00\x00\x00\x08"
)
