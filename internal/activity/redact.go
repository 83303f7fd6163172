package activity

import (
	"bytes"
	"slices"
)

const mask = `"[redacted]"`

// secretWords mark member names whose values are never kept. A name matches
// when it holds one of them, ignoring case, '_' and '-'.
var secretWords = []string{"password", "passwd", "secret", "token", "apikey", "authorization", "credential", "privatekey", "cookie", "passphrase", "sessionid"}

// keyMarks begin the credentials of our own doors.
var keyMarks = [][]byte{[]byte("mcp_"), []byte("sk_"), []byte("ok_"), []byte("wk_"), []byte("op_"), []byte("pk_"), []byte("eyJ")}

// Redact returns a copy of a JSON text, at most limit bytes long, in which the
// values of secret members and everything that looks like a credential are
// masked. It never fails: a text that is cut or no JSON is treated by the same
// rules as far as it goes.
func Redact(text []byte, limit int, names []string) []byte {
	if len(text) > limit {
		text = text[:limit]
	}
	r := redactor{in: text, out: make([]byte, 0, len(text)), names: names}
	for r.pos < len(r.in) {
		if r.in[r.pos] == '"' {
			r.text()
			continue
		}
		next := bytes.IndexByte(r.in[r.pos:], '"')
		if next < 0 {
			next = len(r.in) - r.pos
		}
		r.out = append(r.out, r.in[r.pos:r.pos+next]...)
		r.pos += next
	}
	return r.out
}

type redactor struct {
	in, out []byte
	pos     int
	names   []string
}

// text copies one string; when it is a secret member's name, the value after
// it is masked.
func (r *redactor) text() {
	end := stringEnd(r.in, r.pos)
	body := r.in[r.pos:end]
	colon := skipSpace(r.in, end)
	if colon < len(r.in) && r.in[colon] == ':' && r.secret(body) {
		r.out = append(append(r.out, r.in[r.pos:colon+1]...), mask...)
		r.pos = valueEnd(r.in, skipSpace(r.in, colon+1))
		return
	}
	if credential(body) {
		r.out = append(r.out, mask...)
	} else {
		r.out = append(r.out, body...)
	}
	r.pos = end
}

func (r *redactor) secret(quoted []byte) bool {
	if len(quoted) > 66 {
		return false
	}
	name := bytes.Trim(quoted, `"`)
	if slices.ContainsFunc(r.names, func(n string) bool { return n == string(name) }) {
		return true
	}
	var small [64]byte
	n := 0
	for _, c := range name {
		switch {
		case c == '_' || c == '-':
			continue
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		if n < len(small) {
			small[n] = c
			n++
		}
	}
	if bytes.HasSuffix(small[:n], []byte("progresstoken")) {
		return false // MCP's own, no secret
	}
	for _, w := range secretWords {
		if bytes.Contains(small[:n], []byte(w)) {
			return true
		}
	}
	return false
}

// credential reports whether a string holds something of the form of a key of
// ours, a bearer header or a JWT.
func credential(quoted []byte) bool {
	if bytes.Contains(quoted, []byte("Bearer ")) || bytes.Contains(quoted, []byte("PRIVATE KEY-----")) {
		return true
	}
	for _, m := range keyMarks {
		for rest := quoted; ; {
			i := bytes.Index(rest, m)
			if i < 0 {
				break
			}
			rest = rest[i+len(m):]
			n := 0
			for n < len(rest) && (rest[n] == '_' || rest[n] == '.' || rest[n] == '-' || rest[n] >= '0' && rest[n] <= '9' || rest[n]|0x20 >= 'a' && rest[n]|0x20 <= 'z') {
				n++
			}
			if n >= 30 {
				return true
			}
		}
	}
	return false
}

// stringEnd returns the offset after the string that begins at i, or the end
// of a text that was cut in it.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); i++ {
		next := bytes.IndexAny(b[i:], `"\`)
		if next < 0 {
			return len(b)
		}
		i += next
		if b[i] == '"' {
			return i + 1
		}
		i++ // the escaped byte
	}
	return len(b)
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// valueEnd returns the offset after the value that begins at i.
func valueEnd(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			i = stringEnd(b, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(b)
}
