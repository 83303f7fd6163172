package activity

import (
	"bytes"
	"slices"
)

const mask = `"[redacted]"`

// secretWords mark member names whose values are never kept. A name matches
// when it holds one of them, ignoring case, '_' and '-'.
var secretWords = []string{"password", "passwd", "secret", "token", "apikey", "authorization", "credential", "privatekey", "cookie", "passphrase", "sessionid"}

// secretsBy holds the words by their first letter: every name of every body is
// looked at.
var secretsBy = func() (by [256][][]byte) {
	for _, w := range secretWords {
		by[w[0]] = append(by[w[0]], []byte(w))
	}
	return by
}()

// Marks of credentials: our own keys end their prefix with '_'.
var (
	keyMarks    = [][]byte{[]byte("mcp_"), []byte("sk_"), []byte("ok_"), []byte("wk_"), []byte("op_"), []byte("pk_"), []byte("live_"), []byte("test_")}
	tokenMark   = []byte("eyJ")
	bearerMark  = []byte("Bearer ")
	privateMark = []byte("PRIVATE KEY-----")
)

// Redact returns a copy of a JSON text, at most limit bytes long, in which the
// values of secret members and everything that looks like a credential are
// masked. It never fails: a text that is cut or no JSON is treated by the same
// rules as far as it goes.
func Redact(text []byte, limit int, names []string) []byte {
	return appendRedacted(make([]byte, 0, min(len(text), limit)), text[:min(len(text), limit)], names)
}

// appendRedacted is Redact into a buffer of the caller's.
func appendRedacted(dst, text []byte, names []string) []byte {
	r := redactor{in: text, out: dst, names: names}
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
	for i, c := range small[:n] {
		for _, w := range secretsBy[c] {
			if bytes.HasPrefix(small[i:n], w) {
				return true
			}
		}
	}
	return false
}

// credential reports whether a string holds something of the form of a key of
// ours, a bearer header, a JWT or a private key. Most strings are long and hold
// none of the marks, so each is looked for with one fast pass.
func credential(quoted []byte) bool {
	// One byte is looked for faster than a word.
	if bytes.IndexByte(quoted, bearerMark[0]) >= 0 && bytes.Contains(quoted, bearerMark) ||
		bytes.IndexByte(quoted, '-') >= 0 && bytes.Contains(quoted, privateMark) {
		return true
	}
	for rest := quoted; ; {
		i := bytes.IndexByte(rest, '_')
		if i < 0 {
			break
		}
		for _, m := range keyMarks {
			if bytes.HasSuffix(rest[:i+1], m) && run(rest[i+1:]) >= 30 {
				return true
			}
		}
		rest = rest[i+1:]
	}
	for rest := quoted; ; {
		i := bytes.IndexByte(rest, tokenMark[2]) // eyJ: the J is the rare one
		if i < 0 {
			return false
		}
		found := bytes.HasSuffix(rest[:i+1], tokenMark)
		rest = rest[i+1:]
		if found && run(rest) >= 30 {
			return true
		}
	}
}

// run counts the characters at the start that credentials are made of.
func run(b []byte) int {
	for i, c := range b {
		if c != '_' && c != '.' && c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return i
		}
	}
	return len(b)
}

// stringEnd returns the offset after the string that begins at i, or the end
// of a text that was cut in it.
func stringEnd(b []byte, i int) int {
	for i++; i < len(b); {
		next := bytes.IndexByte(b[i:], '"')
		if next < 0 {
			return len(b)
		}
		end := i + next
		// The quote ends the string unless an odd number of backslashes is before it.
		back := end
		for back > i && b[back-1] == '\\' {
			back--
		}
		i = end + 1
		if (end-back)%2 == 0 {
			return i
		}
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
