package mcp_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"headgate/internal/mcp"
)

// jsonText draws a JSON value as text, with white space and escapes where JSON
// allows them and no key twice.
func jsonText(t *rapid.T, depth int) string {
	kinds := 5
	if depth == 0 {
		kinds = 3
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false", "0", "-1.5e3", "12345678901234567890"}).Draw(t, "word")
	case 1, 2:
		return stringText(t)
	case 3:
		items := make([]string, rapid.IntRange(0, 4).Draw(t, "n"))
		for i := range items {
			items[i] = blank(t) + jsonText(t, depth-1) + blank(t)
		}
		return "[" + strings.Join(items, ",") + "]"
	}
	return objectText(t, depth, nil)
}

func objectText(t *rapid.T, depth int, extra []string) string {
	keys := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "na me", "é", "日本", "q\"\\/", "", "longer than eight"}), 0, 5, rapid.ID).Draw(t, "keys")
	keys = rapid.Permutation(append(slices.Clone(keys), extra...)).Draw(t, "order")
	members := make([]string, len(keys))
	for i, key := range keys {
		members[i] = blank(t) + escape(t, key) + blank(t) + ":" + blank(t) + jsonText(t, max(depth-1, 0)) + blank(t)
	}
	return "{" + strings.Join(members, ",") + "}"
}

func blank(t *rapid.T) string {
	return rapid.SampledFrom([]string{"", "", "", " ", "\n\t\r", "          "}).Draw(t, "blank")
}

func stringText(t *rapid.T) string { return escape(t, rapid.String().Draw(t, "text")) }

// escape writes s as a JSON string in one of its many forms.
func escape(t *rapid.T, s string) string {
	b, _ := json.Marshal(s)
	switch rapid.IntRange(0, 2).Draw(t, "form") {
	case 0:
		return string(b)
	case 1:
		return string(mcp.AppendString(nil, s))
	}
	var out strings.Builder
	for _, r := range s {
		switch {
		case r >= 0x10000:
			r -= 0x10000
			out.WriteString(`\u` + hex(0xD800+r>>10) + `\u` + hex(0xDC00+r&0x3FF))
		default:
			out.WriteString(`\u` + hex(r))
		}
	}
	return `"` + out.String() + `"`
}

func hex(r rune) string { return strings.ToUpper(strconv.FormatInt(0x10000+int64(r), 16)[1:]) }

func decode(t *rapid.T, b []byte) any {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%v: %q", err, b)
	}
	return v
}

// keysOf lists an object's keys in their order, as encoding/json reads them.
func keysOf(t *rapid.T, b []byte) []string {
	d := json.NewDecoder(bytes.NewReader(b))
	_, _ = d.Token()
	keys := []string{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key.(string))
		var skip json.RawMessage
		if err := d.Decode(&skip); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

func TestCheckAndWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(blank(t) + jsonText(t, 4) + blank(t))
		err := mcp.Check(text, mcp.Limits{})
		if want := strictly(text); (err == nil) != want {
			t.Fatalf("got %v, want %v: %q", err, want, text)
		}
		if diff := cmp.Diff(decode(t, text), walked(text, mcp.Root(text))); diff != "" {
			t.Fatalf("%q: %s", text, diff)
		}
	})
}

func TestSetMember(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(objectText(t, 2, nil))
		key := rapid.SampledFrom([]string{"a", "é", "q\"\\/", "new", ""}).Draw(t, "key")
		raw := jsonText(t, 1)
		want := decode(t, text).(map[string]any)
		order := keysOf(t, text)
		if _, ok := want[key]; !ok {
			order = append([]string{key}, order...)
		}
		want[key] = decode(t, []byte(raw))
		got := mcp.InsertMember(nil, text, mcp.Root(text), key, []byte(raw))
		if diff := cmp.Diff(want, decode(t, got)); diff != "" {
			t.Fatalf("%q: %s", got, diff)
		}
		if diff := cmp.Diff(order, keysOf(t, got)); diff != "" {
			t.Fatalf("order in %q: %s", got, diff)
		}
	})
}

func TestRemoveMembers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := []byte(blank(t) + objectText(t, 2, nil) + blank(t))
		drop := map[string]bool{}
		want := decode(t, text).(map[string]any)
		order := keysOf(t, text)
		for _, key := range order {
			if drop[key] = rapid.Bool().Draw(t, "drop"); drop[key] {
				delete(want, key)
			}
		}
		order = slices.DeleteFunc(order, func(key string) bool { return drop[key] })
		edits, some := mcp.RemoveMembers(nil, text, mcp.Root(text), func(m mcp.Member) bool {
			key, _ := mcp.String(text, m.Key)
			return drop[key]
		})
		got := mcp.Splice(nil, text, edits...)
		if some != (len(want) > 0) {
			t.Fatalf("some = %v with %d members left", some, len(want))
		}
		if diff := cmp.Diff(want, decode(t, got)); diff != "" {
			t.Fatalf("%q: %s", got, diff)
		}
		if diff := cmp.Diff(order, keysOf(t, got)); diff != "" {
			t.Fatalf("order in %q: %s", got, diff)
		}
	})
}

func TestStripEra(t *testing.T) {
	const v, c, i, l = `"io.modelcontextprotocol/protocolVersion":"2026-07-28"`, `"io.modelcontextprotocol/clientCapabilities":{}`,
		`"io.modelcontextprotocol/clientInfo":{"name":"c"}`, `"io.modelcontextprotocol/logLevel":"info"`
	for why, row := range map[string]struct{ params, want string }{
		"keeps what is not the era's":       {`{"name":"x","_meta":{` + v + `,"progressToken":1,` + c + `,` + i + `,"traceparent":"t",` + l + `}}`, `{"name":"x","_meta":{"progressToken":1,"traceparent":"t"}}`},
		"drops a _meta that becomes empty":  {`{"name":"x","_meta":{` + v + `,` + c + `},"arguments":{}}`, `{"name":"x","arguments":{}}`},
		"drops a _meta in front":            {`{ "_meta" : { ` + v + ` , ` + c + ` } , "name":"x"}`, `{ "name":"x"}`},
		"leaves params empty":               {`{"_meta":{` + v + `}}`, `{}`},
		"leaves an empty _meta as it was":   {`{"_meta":{}}`, `{"_meta":{}}`},
		"leaves params without _meta alone": {`{"name":"x"}`, `{"name":"x"}`},
		"leaves other namespaces alone":     {`{"_meta":{"com.example/protocolVersion":1}}`, `{"_meta":{"com.example/protocolVersion":1}}`},
		"finds escaped keys":                {`{"_meta":{"io.modelcontextprotocol\/logLevel":"info","a":1}}`, `{"_meta":{"a":1}}`},
	} {
		t.Run(why, func(t *testing.T) {
			const head = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":`
			e, b := scan(t, head+row.params+"}")
			var room [4]mcp.Edit
			got := string(mcp.Splice(nil, b, mcp.StripEra(room[:0], b, &e)...))
			if want := head + row.want + "}"; got != want {
				t.Fatalf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestSplice(t *testing.T) {
	b := []byte("0123456789")
	t.Run("replaces, inserts and deletes in one pass", func(t *testing.T) {
		got := mcp.Splice([]byte(">"), b, mcp.Edit{mcp.Span{0, 0}, []byte("a")}, mcp.Edit{mcp.Span{0, 2}, nil},
			mcp.Edit{mcp.Span{2, 3}, []byte("b")}, mcp.Edit{mcp.Span{10, 10}, []byte("c")})
		if string(got) != ">ab3456789c" {
			t.Fatalf("got %s", got)
		}
	})
	t.Run("panics on edits out of order", func(t *testing.T) {
		defer func() {
			if recover() == nil {
				t.Fatal("no panic")
			}
		}()
		mcp.Splice(nil, b, mcp.Edit{Span: mcp.Span{4, 6}}, mcp.Edit{Span: mcp.Span{5, 7}})
	})
}

func TestStrings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		raw := []byte(escape(t, s))
		v := mcp.Root(raw)
		if got, err := mcp.String(raw, v); err != nil || got != s {
			t.Fatalf("String(%s): got %q, %v, want %q", raw, got, err, s)
		}
		if !mcp.Equal(raw, v, s) || mcp.Equal(raw, v, s+"x") {
			t.Fatalf("Equal is wrong on %s", raw)
		}
		if text, ok := mcp.Bytes(raw, v); ok && string(text) != s {
			t.Fatalf("Bytes(%s): got %q", raw, text)
		}
		if err := mcp.Check(raw, mcp.Limits{}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("surrogate pairs are decoded from end to end", func(t *testing.T) {
		for text, want := range map[string]string{`"\ud800\udc00"`: "\U00010000", `"\uDBFF\uDFFF"`: "\U0010ffff", `"\ud7ff\ue000"`: "\ud7ff\ue000"} {
			if got, err := mcp.String([]byte(text), mcp.Root([]byte(text))); err != nil || got != want {
				t.Errorf("%s: got %q, %v", text, got, err)
			}
		}
	})
	t.Run("AppendString repairs bad UTF-8", func(t *testing.T) {
		if got := string(mcp.AppendString(nil, "a\xff\"\x01\u2028")); got != "\"a\ufffd\\\"\\u0001\u2028\"" {
			t.Fatalf("got %q", got)
		}
	})
	t.Run("other values are no strings", func(t *testing.T) {
		for _, text := range []string{"1", "null", "{}", ""} {
			if s, err := mcp.String([]byte(text), mcp.Root([]byte(text))); err == nil {
				t.Errorf("%q: got %q", text, s)
			}
		}
	})
}

func TestFindAndGet(t *testing.T) {
	b := []byte(` {"a":{"b":[1,{"c":2}],"d\u0065":"x"},"n":null} `)
	if v, ok := mcp.Find(b, mcp.Root(b), "a", "de"); !ok || string(v.Of(b)) != `"x"` {
		t.Fatalf("got %v %v", v, ok)
	}
	if _, ok := mcp.Find(b, mcp.Root(b), "a", "b", "c"); ok {
		t.Fatal("found a member in an array")
	}
	if v, ok := mcp.Get(b, mcp.Root(b), "n"); !ok || !mcp.IsNull(b, v) {
		t.Fatalf("got %v %v", v, ok)
	}
}

func TestAppendMessages(t *testing.T) {
	for got, want := range map[string]string{
		string(mcp.AppendResult(nil, []byte(`"a"`), []byte(`{}`))):                                 `{"jsonrpc":"2.0","id":"a","result":{}}`,
		string(mcp.AppendError(nil, []byte(`1`), mcp.CodeInvalidParams, `"x"`, []byte(`{"a":1}`))): `{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"\"x\"","data":{"a":1}}}`,
		string(mcp.AppendError(nil, nil, mcp.CodeParse, "x", nil)):                                 `{"jsonrpc":"2.0","error":{"code":-32700,"message":"x"}}`,
		string(mcp.AppendRequest(nil, []byte(`1`), mcp.MethodToolsList, []byte(`{}`))):             `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`,
		string(mcp.AppendRequest(nil, nil, mcp.NotifyInitialized, nil)):                            `{"jsonrpc":"2.0","method":"notifications/initialized"}`,
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		var e mcp.Envelope
		if err := mcp.Scan([]byte(got), &e, mcp.Limits{}); err != nil {
			t.Errorf("%s: %v", got, err)
		}
	}
}
