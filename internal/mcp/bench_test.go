package mcp_test

import (
	"strings"
	"testing"

	"headgate/internal/mcp"
)

func benchScan(b *testing.B, text string, scan func([]byte, *mcp.Envelope, mcp.Limits) error) {
	msg := []byte(text)
	var e mcp.Envelope
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		if err := scan(msg, &e, mcp.Limits{}); err != nil {
			b.Fatal(err)
		}
	}
}

func call(text string) string {
	return `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"search","arguments":{"text":"` + text + `"}}}`
}

func fill(unit string, size int) string {
	return strings.Repeat(unit, size/len(unit)+1)[:size/len(unit)*len(unit)]
}

// The hot path's budget: 0.6 us for a small message, 1 ns a byte for long texts.
func BenchmarkScan(b *testing.B) {
	for name, text := range map[string]string{
		"small":    call("hello"),
		"modern":   modernCall,
		"ascii64K": call(fill("The quick brown fox jumps over the lazy dog. ", 64<<10)),
		"latin64K": call(fill("Füße und Ärger über Öl, schöne Grüße. ", 64<<10)),
		"cyr64K":   call(fill("Съешь же ещё этих мягких булок. ", 64<<10)),
		"cjk64K":   call(fill("快速的棕色狐狸跳过懒狗。", 64<<10)),
		"esc64K":   call(fill(`line of code, and then some more\n\t\"q\"`, 64<<10)),
	} {
		b.Run(name, func(b *testing.B) { benchScan(b, text, mcp.Scan) })
	}
}

func BenchmarkScanReply(b *testing.B) {
	reply := func(text string) string {
		return `{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"` + text + `"}],"isError":false}}`
	}
	tool := `{"name":"search","description":"Finds things in a place.","inputSchema":{"type":"object","properties":{"q":{"type":"string","maxLength":100},"n":{"type":"integer"}},"required":["q"]}}`
	for name, text := range map[string]string{
		"small":    reply("hello"),
		"ascii64K": reply(fill("The quick brown fox jumps over the lazy dog. ", 64<<10)),
		"tools64K": `{"jsonrpc":"2.0","id":7,"result":{"tools":[` + strings.TrimSuffix(fill(tool+",", 64<<10), ",") + `]}}`,
	} {
		b.Run(name, func(b *testing.B) { benchScan(b, text, mcp.ScanReply) })
	}
}

func BenchmarkHostile(b *testing.B) {
	var keys strings.Builder
	for i := range 65_000 {
		if i > 0 {
			keys.WriteByte(',')
		}
		keys.WriteString(`"samepref`)
		for n := i; n > 0; n /= 26 {
			keys.WriteByte(byte('a' + n%26))
		}
		keys.WriteString(`":1`)
	}
	for name, text := range map[string]string{
		"keys":    `{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":{` + keys.String() + `}}}`,
		"objects": `{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":[` + strings.TrimSuffix(fill(`{"a":{"b":1}},`, 4<<20), ",") + `]}}`,
	} {
		b.Run(name, func(b *testing.B) { benchScan(b, text, mcp.Scan) })
	}
}
