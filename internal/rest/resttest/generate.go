package resttest

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"headgate/internal/id"
	"headgate/internal/rest"
)

// generator makes inputs for operations. Half of them are as valid as the
// schema can say; the other half have one thing spoilt.
type generator struct {
	rand  *rand.Rand
	door  *rest.Door
	known map[string][]string
}

func (g *generator) one(list ...string) string { return list[g.rand.IntN(len(list))] }
func (g *generator) chance(percent int) bool   { return g.rand.IntN(100) < percent }

// words are texts that break what is careless. Those with the canary must not
// come back when they are rejected; names of fields may, as far as they look
// like names, so the canary is never one.
var words = []string{
	"", " ", "0", "-1", "null", "true", "NaN", canary, canary + "'; DROP TABLE users; --", `" OR "1"="1`, "../../etc/passwd", "..%2f..%2f", "%00", "\x00", "a\x00b", "\u202e" + canary,
	"ﬀ" + canary, "K" + canary, "𝔘𝔫𝔦", "<script>" + canary + "</script>", "{{config.x}}", "${" + canary + "}", "$(id)", "a\r\nX-Injected: 1", "\t", "%", "_", "\\", "ſ", "😀" + canary,
	"9223372036854775807", "9223372036854775808", "-9223372036854775809", "1e309", "1e3", "0x10", "1.5", "00", "2026-07-28", "2026-13-45", "0000-00-00T00:00:00Z", "9999-12-31T23:59:59.999999999Z",
	"mcp_sk_" + canary + "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", "eyJhbGciOiJub25lIn0." + canary + ".", "\xff\xfe", "\ufeff", strings.Repeat("a", 9000), strings.Repeat("é", 200), "=1+1", "@x", "http://169.254.169.254/", "file:///etc/passwd",
}

func (g *generator) word() string { return words[g.rand.IntN(len(words))] }

// input makes one request of an operation.
func (g *generator) input(op rest.Op) *input {
	hop := documented(g.door, op)
	in := &input{method: op.Method, header: http.Header{}}
	path := op.Path
	for _, name := range parameters(path) {
		value := g.identifier(name)
		escaped := url.PathEscape(value)
		if g.chance(5) {
			escaped = g.one("..", ".", "%2e%2e", "%2F", "..;", "%252e", "%00", "a%2Fb", "//", "%ff")
		}
		path = strings.Replace(path, "{"+name+"}", escaped, 1)
	}
	in.target = g.door.Base() + path + g.query(hop)
	if hop.RequestBody != nil {
		in.hasBody = true
		in.body = g.body(hop)
		in.header.Set("Content-Type", "application/json")
	}
	g.headers(in, op)
	return in
}

func (g *generator) headers(in *input, op rest.Op) {
	if op.Idempotent && g.chance(30) {
		in.header.Set("Idempotency-Key", g.one(canary, "k1", "k2", "", strings.Repeat("k", 300), "ü", "a b"))
	}
	if !g.chance(10) {
		return
	}
	switch g.rand.IntN(8) {
	case 0:
		in.header.Set("Content-Type", g.one("text/plain", "application/xml", "application/json; charset=utf-16", "", "x"))
	case 1:
		in.header.Set("Content-Encoding", "gzip")
	case 2:
		in.header.Set("Authorization", g.one("Basic "+canary, "Bearer", "Bearer "+canary, "Bearer mcp_sk_"+canary, "ApiKey a,b", "Bearer \xff"))
	case 3:
		in.header.Set("X-API-Key", g.word())
	case 4:
		in.header.Set("Accept", g.one("text/html", "application/xml", "*/*;q=0"))
	case 5:
		in.header.Set("X-Tenant-Id", canary)
	case 6:
		in.header.Set("User-Agent", g.word())
	case 7:
		in.header.Set("Cookie", "__Host-headgate="+canary+"; a=b")
	}
}

// identifier is a value for what is named like an id.
func (g *generator) identifier(name string) string {
	known := g.known[name]
	switch n := g.rand.IntN(10); {
	case n < 6 && len(known) > 0:
		return known[g.rand.IntN(len(known))]
	case n < 7 && len(known) > 0:
		return id.UUID(known[g.rand.IntN(len(known))])
	case n < 8:
		return id.New(g.one("svc", "srv", "key", "org", "user", "acc", "log", "ws", "ses", "inv"))
	default:
		if w := g.word(); w != "" {
			return w
		}
		return "x"
	}
}

func (g *generator) query(hop *huma.Operation) string {
	q := url.Values{}
	for _, p := range hop.Parameters {
		if p.In != "query" || g.chance(60) {
			continue
		}
		value := ""
		if g.chance(25) {
			value = g.word()
		} else {
			value = fmt.Sprint(g.value(p.Name, p.Schema, 0))
		}
		q.Add(p.Name, value)
		if g.chance(3) {
			q.Add(p.Name, value)
		}
	}
	if g.chance(5) {
		q.Add(g.one("x", "api_key", "unknown", "Page", "a[b]", "__proto__"), g.word())
	}
	if len(q) == 0 {
		return ""
	}
	if g.chance(3) {
		return "?" + q.Encode() + "&%zz=%"
	}
	return "?" + q.Encode()
}

// body makes a body from the schema and perhaps spoils it.
func (g *generator) body(hop *huma.Operation) []byte {
	media := hop.RequestBody.Content["application/json"]
	if media == nil {
		return []byte(g.word())
	}
	v := g.value("", media.Schema, 0)
	if g.chance(50) {
		v = g.spoil(v)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return []byte("{}")
	}
	if g.chance(12) {
		return g.spoilText(text)
	}
	return text
}

// spoil changes one thing of a value.
func (g *generator) spoil(v any) any {
	m, isObject := v.(map[string]any)
	if !isObject || len(m) == 0 || g.chance(10) {
		return g.junk(0)
	}
	names := slices.Sorted(maps.Keys(m))
	name := names[g.rand.IntN(len(names))]
	switch g.rand.IntN(6) {
	case 0:
		delete(m, name)
	case 1:
		m[name] = g.junk(0)
	case 2:
		m[strings.ToUpper(name[:1])+name[1:]] = m[name]
	case 3:
		m[g.one("unknown", "role", "tenantId", "organizationId", "balance", "scopes", "id", "__proto__", "constructor", "")] = g.junk(0)
	case 4:
		m[name] = g.word()
	case 5:
		m[name] = g.spoil(m[name])
	}
	return m
}

// spoilText changes the text in ways no encoder would.
func (g *generator) spoilText(text []byte) []byte {
	switch g.rand.IntN(9) {
	case 0:
		return text[:g.rand.IntN(len(text))]
	case 1:
		return append(text, "trailing "+canary...)
	case 2:
		return append(append([]byte(`{"twice":"`+canary+`","twice":2,`), text[1:]...), ' ')
	case 3:
		return []byte(strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200))
	case 4:
		return []byte(strings.Repeat("[", 100_000))
	case 5:
		return append([]byte("\xef\xbb\xbf"), text...)
	case 6:
		return []byte(strings.Replace(string(text), ":", ":1e999,\"x\":", 1))
	case 7:
		return nil
	}
	at := g.rand.IntN(len(text))
	text[at] = byte(g.rand.IntN(256))
	return text
}

// junk is a value of any type.
func (g *generator) junk(depth int) any {
	switch n := g.rand.IntN(9); {
	case n == 0:
		return nil
	case n == 1:
		return g.chance(50)
	case n == 2:
		return json.RawMessage(g.one("0", "-1", "1.5", "9223372036854775807", "9223372036854775808", "1e308", "-0", "123456789012345678901234567890"))
	case n == 3 && depth < 3:
		return []any{g.junk(depth + 1), g.junk(depth + 1)}
	case n == 4 && depth < 3:
		return map[string]any{g.one("", "a", "__proto__", "$ref", "\u202e", strings.Repeat("n", 300)): g.junk(depth + 1), "unknown": g.junk(depth + 1)}
	}
	return strings.ToValidUTF8(g.word(), "�")
}
