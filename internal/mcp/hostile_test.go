package mcp_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"headgate/internal/mcp"
)

// nested returns a message whose arguments nest so deep that the message has
// the depth given.
func nested(depth int, open, close string) string {
	n := depth - 2
	return `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":` + strings.Repeat(open, n) + "0" + strings.Repeat(close, n) + `}}`
}

func params(inside string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{` + inside + `}}`
}

// refused are messages on which two parsers could disagree, or that are no
// messages, with the code each is answered with.
var refused = []struct {
	why, text string
	code      int
}{
	// Grammar.
	{"nothing", "", mcp.CodeParse},
	{"white space only", " \n", mcp.CodeParse},
	{"cut short", `{"jsonrpc":"2.0","id":1`, mcp.CodeParse},
	{"cut in a key", `{"jsonr`, mcp.CodeParse},
	{"cut in a word", `{"a":tru`, mcp.CodeParse},
	{"cut in an escape", `{"a":"\`, mcp.CodeParse},
	{"a byte order mark", "\xef\xbb\xbf" + call("x"), mcp.CodeParse},
	{"a NUL behind", call("x") + "\x00", mcp.CodeParse},
	{"a second message", call("x") + call("x"), mcp.CodeParse},
	{"a comma behind", call("x") + ",", mcp.CodeParse},
	{"a comment", "/**/" + call("x"), mcp.CodeParse},
	{"a trailing comma in an object", params(`"a":1,`), mcp.CodeParse},
	{"a trailing comma in an array", params(`"a":[1,]`), mcp.CodeParse},
	{"a missing value", params(`"a":`), mcp.CodeParse},
	{"a missing colon", params(`"a" 1`), mcp.CodeParse},
	{"a bare key", params(`a:1`), mcp.CodeParse},
	{"single quotes", params(`'a':1`), mcp.CodeParse},
	{"a form feed between", params("\f"), mcp.CodeParse},
	{"a no-break space between", params("\u00a0"), mcp.CodeParse},
	{"NaN", params(`"a":NaN`), mcp.CodeParse},
	{"a wrong word", params(`"a":trux`), mcp.CodeParse},
	{"a plus sign", params(`"a":+1`), mcp.CodeParse},
	{"a zero in front", params(`"a":01`), mcp.CodeParse},
	{"a negative zero in front", params(`"a":-01`), mcp.CodeParse},
	{"a bare point", params(`"a":1.`), mcp.CodeParse},
	{"a point in front", params(`"a":.1`), mcp.CodeParse},
	{"a bare exponent", params(`"a":1e`), mcp.CodeParse},
	{"a bare minus", params(`"a":-`), mcp.CodeParse},
	{"hexadecimal", params(`"a":0x1`), mcp.CodeParse},
	{"a mismatched bracket", params(`"a":[1}`), mcp.CodeParse},
	// Strings.
	{"a raw NUL", params("\"a\":\"\x00\""), mcp.CodeParse},
	{"a raw line feed", params("\"a\":\"x\ny\""), mcp.CodeParse},
	{"a control character after eight bytes", params("\"a\":\"12345678\x1f\""), mcp.CodeParse},
	{"an unknown escape", params(`"a":"\x41"`), mcp.CodeParse},
	{"a short hexadecimal escape", params(`"a":"\u12"`), mcp.CodeParse},
	{"a signed hexadecimal escape", params(`"a":"\u+123"`), mcp.CodeParse},
	{"half a surrogate pair", params(`"a":"\ud800"`), mcp.CodeParse},
	{"the wrong half", params(`"a":"\udc00"`), mcp.CodeParse},
	{"two wrong halves", params(`"a":"\udc00\udc00"`), mcp.CodeParse},
	{"two first halves", params(`"a":"\ud800\ud800"`), mcp.CodeParse},
	{"a first half and a letter", params(`"a":"\ud800x12345"`), mcp.CodeParse},
	{"half a pair in a key", params(`"\ud800":1`), mcp.CodeParse},
	{"a stray continuation byte", params("\"a\":\"\x80\""), mcp.CodeParse},
	{"a cut character", params("\"a\":\"\xe4\xb8\""), mcp.CodeParse},
	{"a cut character before an escape", params("\"a\":\"\xe4\xb8\\n12345678\""), mcp.CodeParse},
	{"an overlong slash", params("\"a\":\"\xc0\xaf\""), mcp.CodeParse},
	{"an overlong three-byte form", params("\"a\":\"\xe0\x80\xaf\""), mcp.CodeParse},
	{"an overlong four-byte form", params("\"a\":\"\xf0\x80\x80\xaf\""), mcp.CodeParse},
	{"a surrogate in UTF-8", params("\"a\":\"\xed\xa0\x80\""), mcp.CodeParse},
	{"beyond Unicode", params("\"a\":\"\xf4\x90\x80\x80\""), mcp.CodeParse},
	{"byte FF", params("\"a\":\"\xff\""), mcp.CodeParse},
	{"Latin-1 far inside a text", params("\"a\":\"" + strings.Repeat("ü", 40) + "\xfc" + strings.Repeat("ü", 40) + "\""), mcp.CodeParse},
	// Depth.
	{"arrays one too deep", nested(65, "[", "]"), mcp.CodeParse},
	{"objects one too deep", nested(65, `{"a":`, "}"), mcp.CodeParse},
	{"a hundred thousand brackets", nested(100_000, "[", "]"), mcp.CodeParse},
	// One meaning.
	{"a method twice", `{"jsonrpc":"2.0","id":1,"method":"tools/list","method":"tools/call"}`, mcp.CodeInvalidRequest},
	{"an id twice", `{"jsonrpc":"2.0","id":1,"id":2,"method":"x"}`, mcp.CodeInvalidRequest},
	{"a name twice", params(`"name":"a","name":"b"`), mcp.CodeInvalidRequest},
	{"a name twice, once escaped", params(`"name":"a","n\u0061me":"b"`), mcp.CodeInvalidRequest},
	{"a name twice, escaped twice", params(`"\u006eame":"a","n\u0061me":"b"`), mcp.CodeInvalidRequest},
	{"an argument twice", params(`"arguments":{"a":{"b":[{"c":1,"c":2}]}}`), mcp.CodeInvalidRequest},
	{"an empty key twice", params(`"arguments":{"":1,"":2}`), mcp.CodeInvalidRequest},
	{"a version twice in _meta", params(`"_meta":{"progressToken":1,"progressToken":1}`), mcp.CodeInvalidRequest},
	{"a duplicate among many keys", params(`"arguments":{` + numbered(500) + `,"k77":0}`), mcp.CodeInvalidRequest},
	{"a duplicate of the first of many keys", params(`"arguments":{` + numbered(17) + `,"k\u0030":0}`), mcp.CodeInvalidRequest},
	{"the method in capitals", `{"jsonrpc":"2.0","id":1,"method":"tools/list","METHOD":"tools/call"}`, mcp.CodeInvalidRequest},
	{"only the method in capitals", `{"jsonrpc":"2.0","id":1,"Method":"tools/call"}`, mcp.CodeInvalidRequest},
	{"params with a long s", `{"jsonrpc":"2.0","id":1,"method":"tools/list","paramſ":1}`, mcp.CodeInvalidRequest},
	{"params with an escaped long s", `{"jsonrpc":"2.0","id":1,"method":"tools/list","param\u017f":{}}`, mcp.CodeInvalidRequest},
	{"result with a long s", `{"jsonrpc":"2.0","id":1,"method":"x","reſult":1}`, mcp.CodeInvalidRequest},
	{"a dotless i", `{"jsonrpc":"2.0","ıd":1,"method":"x"}`, mcp.CodeInvalidRequest},
	{"a dotted I", `{"jsonrpc":"2.0","İD":1,"method":"x"}`, mcp.CodeInvalidRequest},
	{"a dotted I in small letters", params("\"ur\u0069\u0307\":1"), mcp.CodeInvalidRequest},
	{"a ligature", params(`"requeﬆState":1`), mcp.CodeInvalidRequest},
	{"a Kelvin sign", params(`"taſKId":"x"`), mcp.CodeInvalidRequest},
	{"a name in capitals", params(`"name":"a","Name":"b"`), mcp.CodeInvalidRequest},
	{"_Meta", params(`"_Meta":{}`), mcp.CodeInvalidRequest},
	{"a version key in small letters", params(`"_meta":{"io.modelcontextprotocol/protocolversion":"2026-07-28"}`), mcp.CodeInvalidRequest},
	{"a NUL in a key", params(`"arguments":{"a\u0000b":1}`), mcp.CodeInvalidRequest},
	{"a NUL in a name", params(`"name":"delete\u0000_nothing"`), mcp.CodeInvalidRequest},
	{"a NUL in a URI", params(`"uri":"file:///etc\u0000.txt"`), mcp.CodeInvalidRequest},
	{"a NUL in a method", `{"jsonrpc":"2.0","id":1,"method":"tools/call\u0000"}`, mcp.CodeInvalidRequest},
	{"a NUL in an id", `{"jsonrpc":"2.0","id":"\u0000","method":"x"}`, mcp.CodeInvalidRequest},
	// JSON-RPC.
	{"a batch", `[` + call("x") + `]`, mcp.CodeInvalidRequest},
	{"a number", `1`, mcp.CodeInvalidRequest},
	{"null", `null`, mcp.CodeInvalidRequest},
	{"an empty object", `{}`, mcp.CodeInvalidRequest},
	{"no version", `{"id":1,"method":"x"}`, mcp.CodeInvalidRequest},
	{"version 1.0", `{"jsonrpc":"1.0","id":1,"method":"x"}`, mcp.CodeInvalidRequest},
	{"a version as a number", `{"jsonrpc":2.0,"id":1,"method":"x"}`, mcp.CodeInvalidRequest},
	{"a null id", `{"jsonrpc":"2.0","id":null,"method":"x"}`, mcp.CodeInvalidRequest},
	{"a null id of a result", `{"jsonrpc":"2.0","id":null,"result":{}}`, mcp.CodeInvalidRequest},
	{"a fractional id", `{"jsonrpc":"2.0","id":1.5,"method":"x"}`, mcp.CodeInvalidRequest},
	{"a whole id with a fraction", `{"jsonrpc":"2.0","id":1.0,"method":"x"}`, mcp.CodeInvalidRequest},
	{"an exponent id", `{"jsonrpc":"2.0","id":1e3,"method":"x"}`, mcp.CodeInvalidRequest},
	{"minus zero", `{"jsonrpc":"2.0","id":-0,"method":"x"}`, mcp.CodeInvalidRequest},
	{"an id beyond 64 bits", `{"jsonrpc":"2.0","id":9223372036854775808,"method":"x"}`, mcp.CodeInvalidRequest},
	{"an object id", `{"jsonrpc":"2.0","id":{},"method":"x"}`, mcp.CodeInvalidRequest},
	{"a boolean id", `{"jsonrpc":"2.0","id":true,"method":"x"}`, mcp.CodeInvalidRequest},
	{"an id of a megabyte", `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 1<<20) + `","method":"x"}`, mcp.CodeInvalidRequest},
	{"an empty method", `{"jsonrpc":"2.0","id":1,"method":""}`, mcp.CodeInvalidRequest},
	{"a null method", `{"jsonrpc":"2.0","id":1,"method":null}`, mcp.CodeInvalidRequest},
	{"an endless method", `{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("x", 257) + `"}`, mcp.CodeInvalidRequest},
	{"params in an array", `{"jsonrpc":"2.0","id":1,"method":"x","params":[1]}`, mcp.CodeInvalidRequest},
	{"null params", `{"jsonrpc":"2.0","id":1,"method":"x","params":null}`, mcp.CodeInvalidRequest},
	{"a method and a result", `{"jsonrpc":"2.0","id":1,"method":"x","result":{}}`, mcp.CodeInvalidRequest},
	{"a result and an error", `{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}`, mcp.CodeInvalidRequest},
	{"a result with params", `{"jsonrpc":"2.0","id":1,"result":{},"params":{}}`, mcp.CodeInvalidRequest},
	{"a result without an id", `{"jsonrpc":"2.0","result":{}}`, mcp.CodeInvalidRequest},
	{"a result that is no object", `{"jsonrpc":"2.0","id":1,"result":"ok"}`, mcp.CodeInvalidRequest},
	{"a resultType that is no string", `{"jsonrpc":"2.0","id":1,"result":{"resultType":1}}`, mcp.CodeInvalidRequest},
	{"an error that is a string", `{"jsonrpc":"2.0","id":1,"error":"no"}`, mcp.CodeInvalidRequest},
	{"an error without a code", `{"jsonrpc":"2.0","id":1,"error":{"message":"no"}}`, mcp.CodeInvalidRequest},
	{"an error with a fractional code", `{"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":"no"}}`, mcp.CodeInvalidRequest},
	{"an error without a message", `{"jsonrpc":"2.0","id":1,"error":{"code":1}}`, mcp.CodeInvalidRequest},
	{"_meta that is no object", params(`"_meta":[]`), mcp.CodeInvalidParams},
	{"a protocol version that is no string", params(`"_meta":{"io.modelcontextprotocol/protocolVersion":1}`), mcp.CodeInvalidParams},
}

func numbered(n int) string {
	var keys strings.Builder
	for i := range n {
		fmt.Fprintf(&keys, `,"k%d":0`, i)
	}
	return keys.String()[1:]
}

func TestScanRefuses(t *testing.T) {
	for _, row := range refused {
		t.Run(row.why, func(t *testing.T) {
			var e mcp.Envelope
			err := mcp.Scan([]byte(row.text), &e, mcp.Limits{})
			if code := mcp.RPCCode(err); err == nil || code != row.code {
				t.Fatalf("got %v (code %d), want code %d", err, code, row.code)
			}
		})
	}
	t.Run("without saying what it read", func(t *testing.T) {
		var e mcp.Envelope
		for _, row := range refused {
			secret := strings.ReplaceAll(row.text, `"x"`, `"hunter2"`)
			if err := mcp.Scan([]byte(secret), &e, mcp.Limits{}); err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: %v", row.why, err)
			}
		}
	})
}

func TestScanTakes(t *testing.T) {
	for why, text := range map[string]string{
		"the deepest nesting allowed":              nested(64, "[", "]"),
		"the deepest nesting of objects allowed":   nested(64, `{"a":`, "}"),
		"the same key in different objects":        params(`"a":{"k":1},"b":{"k":1},"k":{"k":{"k":1}}`),
		"argument keys that differ in case":        params(`"arguments":{"path":1,"Path":2,"PATH":3}`),
		"many keys":                                params(`"arguments":{` + numbered(5000) + `}`),
		"many objects with many keys, one in one":  params(`"arguments":{"a":{` + numbered(40) + `,"b":{` + numbered(40) + `}},` + numbered(40) + `}`),
		"vendor members everywhere":                `{"jsonrpc":"2.0","id":1,"method":"x","x-trace":1,"params":{"vendor":1,"_meta":{"com.example/x":null}}}`,
		"a NUL in an argument's value":             params(`"arguments":{"a":"\u0000"}`),
		"surrogate pairs":                          params(`"arguments":{"a":"\ud83d\ude00 \uD83D\uDE00","\ud83d\ude00":1}`),
		"every short escape":                       params(`"arguments":{"a":"\"\\\/\b\f\n\r\t"}`),
		"every length of text around eight bytes":  params(`"arguments":["","1","12","1234567","12345678","123456789","1234567é","1234567é12345678日"]`),
		"the edges of UTF-8":                       params("\"a\":\"\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff\x7f\""),
		"every kind of number":                     params(`"arguments":[0,-0,1,-1,10,1.5,-0.5,1e5,1E+5,1.5e-5,123456789012345678901234567890]`),
		"the longest id":                           `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 1022) + `","method":"x"}`,
		"the biggest whole id":                     `{"jsonrpc":"2.0","id":9223372036854775807,"method":"x"}`,
		"an empty id":                              `{"jsonrpc":"2.0","id":"","method":"x"}`,
		"white space in every place":               "\r\n\t {  \"jsonrpc\"\t:\n\"2.0\"  ,          \"id\":1,\"method\":\"x\",\"params\" : { \"a\" : [ 1 , 2 , [ ] , { } ] } }\n",
		"keys beyond ASCII that resemble nothing":  `{"jsonrpc":"2.0","id":1,"method":"x","größe":1,"名前":2,"params":{"naïve":1,"straße":2}}`,
		"a known key of another level in capitals": params(`"Method":1,"ID":2`),
	} {
		t.Run(why, func(t *testing.T) {
			var e mcp.Envelope
			if err := mcp.Scan([]byte(text), &e, mcp.Limits{}); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestScanReplyTakes(t *testing.T) {
	for why, text := range map[string]string{
		"the server's own duplicates and NULs": `{"jsonrpc":"2.0","id":1,"result":{"a\u0000":1,"structuredContent":{"k":1,"k":2,"n\u0000":3}}}`,
		"a deep schema":                        `{"jsonrpc":"2.0","id":1,"result":{"tools":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}}`,
		"a server's request":                   `{"jsonrpc":"2.0","id":"e1","method":"elicitation/create","params":{"message":"m","name":"\u0000"}}`,
	} {
		t.Run(why, func(t *testing.T) {
			var e mcp.Envelope
			if err := mcp.ScanReply([]byte(text), &e, mcp.Limits{}); err != nil {
				t.Fatal(err)
			}
			if err := mcp.Scan([]byte(text), &e, mcp.Limits{}); err == nil {
				t.Fatal("taken from a client too")
			}
		})
	}
}

func TestScanReplyRefuses(t *testing.T) {
	for why, text := range map[string]string{
		"a result twice":           `{"jsonrpc":"2.0","id":1,"result":{},"result":{}}`,
		"isError twice":            `{"jsonrpc":"2.0","id":1,"result":{"isError":false,"isError":true}}`,
		"a code twice":             `{"jsonrpc":"2.0","id":1,"error":{"code":1,"code":2,"message":"m"}}`,
		"Result beside result":     `{"jsonrpc":"2.0","id":1,"result":{},"Result":{}}`,
		"bad UTF-8 deep inside":    "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":[{\"b\":\"\xff\"}]}}",
		"a page instead of JSON":   `<!doctype html><title>Sign in</title>`,
		"something behind":         `{"jsonrpc":"2.0","id":1,"result":{}}{}`,
		"nesting without an end":   `{"jsonrpc":"2.0","id":1,"result":{"a":` + strings.Repeat("[", 100_000),
		"neither result nor error": `{"jsonrpc":"2.0","id":1}`,
	} {
		t.Run(why, func(t *testing.T) {
			var e mcp.Envelope
			if err := mcp.ScanReply([]byte(text), &e, mcp.Limits{}); err == nil {
				t.Fatal("taken")
			}
		})
	}
}

// Folding is not only ASCII: each of these is a known key to some parser.
func TestScanRefusesLookAlikes(t *testing.T) {
	known := []string{
		"jsonrpc", "id", "method", "params", "result", "error", "name", "uri", "arguments", "_meta", "cursor",
		"requestState", "inputResponses", "taskId", "requestId", "progressToken",
	}
	forms := map[string][]string{"s": {"ſ"}, "k": {"\u212a"}, "i": {"ı", "İ"}, "ss": {"ß", "ẞ"}, "st": {"ﬅ", "ﬆ"}, "ff": {"ﬀ"}, "fi": {"ﬁ"}, "fl": {"ﬂ"}, "ffi": {"ﬃ"}, "ffl": {"ﬄ"}}
	for i, key := range known {
		alike := []string{strings.ToUpper(key), strings.ToUpper(key[:1]) + key[1:], strings.ToUpper(key[:len(key)-1]) + key[len(key)-1:]}
		for plain, odd := range forms {
			for _, o := range odd {
				alike = append(alike, strings.ReplaceAll(key, plain, o), strings.ReplaceAll(strings.ToLower(key), plain, o))
			}
		}
		for _, a := range alike {
			if a == key {
				continue
			}
			text := params(`"` + a + `":"x"`)
			if i < 6 {
				text = `{"jsonrpc":"2.0","id":1,"method":"x","` + a + `":"x"}`
			}
			var e mcp.Envelope
			if err := mcp.Scan([]byte(text), &e, mcp.Limits{}); !errors.Is(err, mcp.ErrNotMessage) {
				t.Errorf("%s for %s: got %v", a, key, err)
			}
		}
	}
}

func TestRPCCode(t *testing.T) {
	for err, want := range map[error]int{
		mcp.ErrUnreadable: -32700, mcp.ErrNotMessage: -32600, mcp.ErrBatch: -32600, mcp.ErrBadBatch: -32600,
		mcp.ErrBadParams: -32602, mcp.ErrNotString: -32602, mcp.ErrBadHeader: -32020, mcp.ErrBadAnnotation: -32603, errors.New("x"): -32603,
	} {
		if got := mcp.RPCCode(fmt.Errorf("read: %w", err)); got != want {
			t.Errorf("%v: got %d", err, got)
		}
	}
}

func TestLimits(t *testing.T) {
	var e mcp.Envelope
	for why, row := range map[string]struct {
		text string
		lim  mcp.Limits
	}{
		"depth":        {nested(9, "[", "]"), mcp.Limits{Depth: 8}},
		"id length":    {`{"jsonrpc":"2.0","id":"12345678","method":"x"}`, mcp.Limits{IDBytes: 9}},
		"keys at once": {params(`"arguments":{` + numbered(100) + `}`), mcp.Limits{Keys: 100}},
	} {
		if err := mcp.Scan([]byte(row.text), &e, row.lim); err == nil {
			t.Errorf("%s: taken beyond the limit", why)
		}
		if err := mcp.Scan([]byte(row.text), &e, mcp.Limits{}); err != nil {
			t.Errorf("%s: refused within the default: %v", why, err)
		}
	}
}

func TestSplitBatch(t *testing.T) {
	t.Run("gives each message of a batch", func(t *testing.T) {
		b := []byte(" [ " + call("a") + "\n, 1,[],\"],\" ] ")
		spans, err := mcp.SplitBatch(b, mcp.Limits{})
		if err != nil || len(spans) != 4 {
			t.Fatalf("got %v, %v", spans, err)
		}
		wantSpan(t, b, "first", spans[0], call("a"))
		wantSpan(t, b, "last", spans[3], `"],"`)
		var e mcp.Envelope
		if err := mcp.Scan(spans[0].Of(b), &e, mcp.Limits{}); err != nil {
			t.Fatal(err)
		}
		if err := mcp.Scan(b, &e, mcp.Limits{}); !errors.Is(err, mcp.ErrBatch) {
			t.Fatalf("a batch passed for a message: %v", err)
		}
	})
	t.Run("refuses empty, long, broken and single ones", func(t *testing.T) {
		for _, text := range []string{
			"", "[]", "[ ]", call("x"), "[1", "[1,", "[1,]", "[1 2]", "[1]1", "[,1]",
			"[1" + strings.Repeat(",1", mcp.MaxBatch) + "]",
		} {
			if spans, err := mcp.SplitBatch([]byte(text), mcp.Limits{}); err == nil {
				t.Errorf("%.20q: got %v", text, spans)
			}
		}
	})
}

func TestSameID(t *testing.T) {
	for _, row := range []struct {
		a, b string
		same bool
	}{
		{`1`, `1`, true},
		{`"a/b"`, `"a\/b"`, true},
		{`"é"`, `"\u00e9"`, true},
		{`1`, `"1"`, false},
		{`1`, `2`, false},
		{`"a"`, `"b"`, false},
		{``, ``, false},
		{``, `1`, false},
	} {
		if got := mcp.SameID([]byte(row.a), []byte(row.b)); got != row.same {
			t.Errorf("%s and %s: got %v", row.a, row.b, got)
		}
	}
}

func TestScanAllocatesNothing(t *testing.T) {
	for _, text := range []string{call("hello"), modernCall, call(`\u00e9\ud83d\ude00` + "日本"), params(`"n\u0061me":"a","arguments":{` + numbered(200) + `}`)} {
		b := []byte(text)
		var e mcp.Envelope
		if n := testing.AllocsPerRun(100, func() {
			if mcp.Scan(b, &e, mcp.Limits{}) != nil || mcp.ScanReply(b, &e, mcp.Limits{}) != nil {
				t.Fatal("refused")
			}
		}); n != 0 {
			t.Errorf("%.40s…: %v allocations", text, n)
		}
	}
}
