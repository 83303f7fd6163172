package mcp_test

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"testing"
	"unicode/utf8"

	"headgate/internal/mcp"
)

// lax is a message as encoding/json reads it: case folded, the last duplicate
// winning. What the scanner takes must mean the same to it.
type lax struct {
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	Params  laxParams       `json:"params"`
}

type laxParams struct {
	Name           json.RawMessage `json:"name"`
	URI            json.RawMessage `json:"uri"`
	Arguments      json.RawMessage `json:"arguments"`
	Cursor         json.RawMessage `json:"cursor"`
	RequestState   json.RawMessage `json:"requestState"`
	InputResponses json.RawMessage `json:"inputResponses"`
	TaskID         json.RawMessage `json:"taskId"`
	RequestID      json.RawMessage `json:"requestId"`
	Progress       json.RawMessage `json:"progressToken"`
	Meta           struct {
		Version      string          `json:"io.modelcontextprotocol/protocolVersion"`
		Capabilities json.RawMessage `json:"io.modelcontextprotocol/clientCapabilities"`
		Info         json.RawMessage `json:"io.modelcontextprotocol/clientInfo"`
		Level        json.RawMessage `json:"io.modelcontextprotocol/logLevel"`
		Token        json.RawMessage `json:"progressToken"`
	} `json:"_meta"`
}

// agree fails the test unless the envelope says what encoding/json reads.
func agree(t *testing.T, b []byte, e *mcp.Envelope) {
	t.Helper()
	if !json.Valid(b) || !utf8.Valid(b) {
		t.Fatalf("not JSON, and taken: %q", b)
	}
	var m lax
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("encoding/json: %v: %q", err, b)
	}
	same := func(what string, v mcp.Span, want json.RawMessage) {
		t.Helper()
		if got := v.Of(b); !bytes.Equal(got, want) {
			t.Fatalf("%s: got %q, encoding/json %q, in %q", what, got, want, b)
		}
	}
	if m.JSONRPC != "2.0" || m.Method != e.Method || m.Params.Meta.Version != e.ProtocolVersion {
		t.Fatalf("got %q %q, encoding/json %+v", e.Method, e.ProtocolVersion, m)
	}
	if string(m.ID) != "null" || !e.ID.Empty() {
		same("id", e.ID, m.ID)
	}
	p := m.Params
	same("name", e.Name, p.Name)
	same("uri", e.URI, p.URI)
	same("arguments", e.Arguments, p.Arguments)
	same("cursor", e.Cursor, p.Cursor)
	same("requestState", e.RequestState, p.RequestState)
	same("inputResponses", e.InputResponses, p.InputResponses)
	same("taskId", e.TaskID, p.TaskID)
	same("requestId", e.RequestID, p.RequestID)
	same("progress", e.Progress, p.Progress)
	same("capabilities", e.ClientCapabilities, p.Meta.Capabilities)
	same("clientInfo", e.ClientInfo, p.Meta.Info)
	same("logLevel", e.LogLevel, p.Meta.Level)
	same("progressToken", e.ProgressToken, p.Meta.Token)
}

// agreeOnAnswer compares results and errors, through maps: exact keys.
func agreeOnAnswer(t *testing.T, b []byte, e *mcp.Envelope) {
	t.Helper()
	var top, result, failure map[string]json.RawMessage
	if err := json.Unmarshal(b, &top); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(top["result"], &result)
	_ = json.Unmarshal(top["error"], &failure)
	for what, pair := range map[string]struct {
		v    mcp.Span
		want json.RawMessage
	}{
		"result": {e.Result, top["result"]}, "error": {e.Error, top["error"]},
		"resultType": {e.ResultTypeSpan, result["resultType"]}, "content": {e.Content, result["content"]},
		"structuredContent": {e.StructuredContent, result["structuredContent"]}, "_meta": {e.ResultMeta, result["_meta"]},
		"message": {e.ErrorMessage, failure["message"]}, "data": {e.ErrorData, failure["data"]},
	} {
		if got := pair.v.Of(b); !bytes.Equal(got, pair.want) {
			t.Fatalf("%s: got %q, encoding/json %q, in %q", what, got, pair.want, b)
		}
	}
	if e.IsError != (string(result["isError"]) == "true") {
		t.Fatalf("isError: got %v in %q", e.IsError, b)
	}
	if e.Kind == mcp.ErrorResponse {
		var code int64
		if json.Unmarshal(failure["code"], &code) != nil || code != e.ErrorCode {
			t.Fatalf("code: got %d in %q", e.ErrorCode, b)
		}
	}
}

// strictly is Check once more, slow and simple, on top of encoding/json.
func strictly(b []byte) bool {
	if !json.Valid(b) || !utf8.Valid(b) || loneSurrogate(b) {
		return false
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	type object struct {
		keys  map[string]bool // nil for arrays
		value bool            // a value comes next
	}
	var open []object
	for {
		token, err := d.Token()
		if err == io.EOF {
			return true
		}
		top := len(open) - 1
		switch token {
		case json.Delim('}'), json.Delim(']'):
			open = open[:top]
			continue
		}
		if top >= 0 && open[top].keys != nil {
			if open[top].value = !open[top].value; open[top].value {
				key := token.(string)
				if open[top].keys[key] || bytes.IndexByte([]byte(key), 0) >= 0 {
					return false
				}
				open[top].keys[key] = true
				continue
			}
		}
		switch token {
		case json.Delim('{'):
			open = append(open, object{keys: map[string]bool{}})
		case json.Delim('['):
			open = append(open, object{})
		}
		if len(open) > mcp.DefaultReplyDepth {
			return false
		}
	}
}

// loneSurrogate looks for an escaped half pair in valid JSON.
func loneSurrogate(b []byte) bool {
	var first bool
	for i := 0; i < len(b); {
		var r uint64
		size := 1
		if b[i] == '\\' {
			if size = 2; b[i+1] == 'u' {
				size = 6
				for _, c := range bytes.ToLower(b[i+2 : i+6]) {
					r = r<<4 | uint64(bytes.IndexByte([]byte("0123456789abcdef"), c))
				}
			}
		}
		second := r >= 0xDC00 && r <= 0xDFFF
		if first != second {
			return true
		}
		first = r >= 0xD800 && r <= 0xDBFF
		i += size
	}
	return first
}

func seed(f *testing.F) {
	for _, row := range refused {
		if len(row.text) < 1<<10 {
			f.Add([]byte(row.text))
		}
	}
	for _, text := range []string{
		call("hello"), modernCall, nested(10, "[", "]"), params(`"arguments":{` + numbered(20) + `}`),
		params(`"uri":"a","cursor":null,"taskId":"t","requestId":1,"progressToken":2`),
		params(`"arguments":{"é":"\ud83d\ude00日本語のテキスト","\u00e9x":-1.5e+7}`),
		`{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true,"resultType":"complete","structuredContent":[1],"_meta":{}}}`,
		`{"jsonrpc":"2.0","id":"a","error":{"code":-32602,"message":"m","data":{"a":[1,2]}}}`,
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":0.5}}`,
	} {
		f.Add([]byte(text))
	}
}

func FuzzScan(f *testing.F) {
	seed(f)
	var e mcp.Envelope
	f.Fuzz(func(t *testing.T, b []byte) {
		checked := mcp.Check(b, mcp.Limits{})
		if want := strictly(b); (checked == nil) != want {
			t.Fatalf("Check says %v, the slow way %v: %q", checked, want, b)
		}
		err := mcp.Scan(b, &e, mcp.Limits{Depth: mcp.DefaultReplyDepth})
		if err == nil {
			if checked != nil {
				t.Fatalf("a message is taken that is not strict JSON (%v): %q", checked, b)
			}
			agree(t, b, &e)
		} else if checked == nil && mcp.RPCCode(err) == mcp.CodeParse {
			t.Fatalf("strict JSON is called unreadable: %v: %q", err, b)
		}
		if checked == nil {
			d := json.NewDecoder(bytes.NewReader(b))
			d.UseNumber()
			var want any
			if err := d.Decode(&want); err != nil || !reflect.DeepEqual(want, walked(b, mcp.Root(b))) {
				t.Fatalf("walked to %v, encoding/json to %v (%v): %q", walked(b, mcp.Root(b)), want, err, b)
			}
		}
		neverPanics(b)
	})
}

func FuzzReply(f *testing.F) {
	seed(f)
	var e, strict mcp.Envelope
	f.Fuzz(func(t *testing.T, b []byte) {
		err := mcp.ScanReply(b, &e, mcp.Limits{})
		if err == nil {
			agree(t, b, &e)
			agreeOnAnswer(t, b, &e)
			return
		}
		if mcp.Scan(b, &strict, mcp.Limits{Depth: mcp.DefaultReplyDepth}) == nil {
			t.Fatalf("refused as a reply (%v), taken as a request: %q", err, b)
		}
	})
}

// neverPanics reads b, which need not be JSON, with what expects scanned bytes.
func neverPanics(b []byte) {
	_, _ = mcp.SplitBatch(b, mcp.Limits{})
	_, _ = mcp.String(b, mcp.Root(b))
	_, _ = mcp.ParamHeaders(b)
	for m := range mcp.Members(b, mcp.Root(b)) {
		_, _ = mcp.String(b, m.Key)
	}
	for range mcp.Elements(b, mcp.Root(b)) {
	}
}

// walked is a document as the walkers read it, in the types of encoding/json.
func walked(b []byte, v mcp.Span) any {
	if text, err := mcp.String(b, v); err == nil {
		return text
	}
	switch b[v.Start] {
	case '{':
		object := map[string]any{}
		for m := range mcp.Members(b, v) {
			key, _ := mcp.String(b, m.Key)
			object[key] = walked(b, m.Value)
		}
		return object
	case '[':
		array := []any{}
		for element := range mcp.Elements(b, v) {
			array = append(array, walked(b, element))
		}
		return array
	case 't', 'f':
		return b[v.Start] == 't'
	case 'n':
		return nil
	}
	return json.Number(v.Of(b))
}
