package zoo

import (
	"fmt"
	"strings"
)

// List is one way to list tools.
type List struct {
	Name  string
	Kind  Kind
	Fault string // the code of the failure; "" when the list is usable
	Tools int    // how many are in it then

	page func(z *Zoo, cursor string, n int) string // the result; n counts requests
}

func one(tools string) func(*Zoo, string, int) string {
	return func(*Zoo, string, int) string { return listing(tools, "") }
}

func listing(tools, cursor string) string {
	if cursor != "" {
		cursor = `,"nextCursor":"` + cursor + `"`
	}
	return `{"resultType":"complete","ttlMs":60000,"cacheScope":"public","tools":[` + tools + `]` + cursor + `}`
}

func tool(name, schema string) string {
	return `{"name":"` + name + `","inputSchema":` + schema + `}`
}

const object = `{"type":"object"}`

// Lists returns all of them, for which a server of its own each is to be
// registered, pinned to the modern era.
func Lists() []List {
	return []List{
		{Name: "a good one", Kind: Changing, Tools: 2, page: one(tool("a", object) + "," + tool("b", object))}, // so that the others say something
		{Name: "one hundred thousand", Kind: ManyTools, Fault: "upstream.list", page: func(*Zoo, string, int) string {
			return listing(strings.Repeat(tool("a", object)+",", 100_000)+tool("b", object), "")
		}},
		{Name: "a long description", Kind: LongText, Tools: 1, page: func(*Zoo, string, int) string {
			return listing(`{"name":"long","description":"`+strings.Repeat("d", 10<<20)+`","inputSchema":`+object+`},`+tool("a", object), "")
		}},
		{Name: "a long cursor", Kind: LongCursor, Fault: "upstream.list", page: func(*Zoo, string, int) string { return listing("", strings.Repeat("c", 1<<20)) }},
		{Name: "a cursor that is no text", Kind: LongCursor, Fault: "upstream.list", page: func(*Zoo, string, int) string { return `{"tools":[],"nextCursor":7}` }},
		{Name: "the same page again", Kind: NoLastPage, Fault: "upstream.list", page: func(*Zoo, string, int) string { return listing("", "again") }},
		{Name: "pages without end", Kind: NoLastPage, Fault: "upstream.list", page: func(_ *Zoo, _ string, n int) string { return listing("", fmt.Sprint(n)) }},
		{Name: "large pages without end", Kind: NoLastPage, Fault: "upstream.list", page: func(_ *Zoo, _ string, n int) string {
			return listing(fmt.Sprintf(`{"name":"t%d","d":"%s"}`, n, strings.Repeat("d", 900<<10)), fmt.Sprint(n))
		}},
		{Name: "no list", Kind: BadJSON, Fault: "upstream.list", page: func(*Zoo, string, int) string { return `{"tools":{}}` }},
		{Name: "nothing", Kind: BadJSON, Fault: "upstream.list", page: func(*Zoo, string, int) string { return `{}` }},
		{Name: "another one every time", Kind: Changing, Tools: 1, page: func(_ *Zoo, _ string, n int) string { return listing(tool(fmt.Sprint("t", n), object), "") }},
		{Name: "a second tool of a name", Kind: Shadowing, Tools: 2, page: one(tool("a", `{"type":"object","title":"first"}`) + "," + tool("b", object) + "," + tool("a", `{"type":"object","title":"second"}`))},
		{Name: "a schema on the network", Kind: Schema, Tools: 1, page: func(z *Zoo, _ string, _ int) string {
			return listing(tool("a", `{"type":"object","$ref":"http://`+z.doors[plain]+Fetched+`","properties":{"a":{"$ref":"http://`+z.doors[plain]+Fetched+`"}}}`), "")
		}},
		{Name: "a schema of many parts", Kind: Schema, Tools: 1, page: one(tool("a", `{"type":"object","properties":{"q":{"type":"string","x-mcp-header":"Q"}},"anyOf":[`+strings.Repeat("{},", 100_000)+`{}]}`))},
		{Name: "a schema of many properties", Kind: Schema, Tools: 1, page: func(*Zoo, string, int) string {
			var b strings.Builder
			for i := range 90_000 {
				fmt.Fprintf(&b, `"%x":{},`, i)
			}
			return listing(tool("a", `{"type":"object","properties":{`+b.String()+`"q":{"type":"string","x-mcp-header":"Q"}}}`), "")
		}},
		{Name: "a schema one in the other", Kind: Schema, Fault: "upstream.nonsense", page: one(tool("a", strings.Repeat(`{"not":`, 100_000)+`{}`+strings.Repeat(`}`, 100_000)))},
		{Name: "annotations where they mean nothing", Kind: Schema, Tools: 1, page: one(tool("bad", `{"type":"object","anyOf":[`+strings.Repeat(`{"properties":{"q":{"type":"string","x-mcp-header":"Q"}}},`, 10_000)+`{}]}`) + "," + tool("a", object))},
	}
}

// Fetched is the path of a document that schemas point to.
const Fetched = "/fetched"
