package rawmcp

import "bytes"

// Member returns the value of a key of a JSON object as it is written, nil when
// the object has no such key. The JSON must be valid: nothing is checked.
func Member(object []byte, key string) []byte {
	var v []byte
	members(object, func(k, value []byte) bool {
		if string(k) == key {
			v = value
		}
		return v == nil
	})
	return v
}

// Text returns a JSON string without its quotes, escapes left as they are.
func Text(value []byte) []byte {
	if len(value) < 2 || value[0] != '"' {
		return nil
	}
	return value[1 : len(value)-1]
}

// members visits the keys of an object and their values until visit says no.
func members(b []byte, visit func(key, value []byte) bool) {
	i := space(b, 0)
	if i >= len(b) || b[i] != '{' {
		return
	}
	for i++; ; i++ {
		i = space(b, i)
		end := skip(b, i)
		if end <= i+1 || b[i] != '"' {
			return
		}
		key := b[i+1 : end-1]
		i = space(b, end)
		i = space(b, i+1) // the colon
		end = skip(b, i)
		if end <= i || !visit(key, b[i:end]) {
			return
		}
		i = space(b, end)
		if i >= len(b) || b[i] != ',' {
			return
		}
	}
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// skip returns where the value that begins at i ends.
func skip(b []byte, i int) int {
	if i >= len(b) {
		return i
	}
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
		return skipNested(b, i)
	}
	for i < len(b) && !bytes.ContainsRune([]byte(",}] \n\r\t"), rune(b[i])) {
		i++
	}
	return i
}

func skipString(b []byte, i int) int {
	for i++; i < len(b); {
		quote := bytes.IndexByte(b[i:], '"')
		if quote < 0 {
			return len(b)
		}
		i += quote + 1
		slashes := 0
		for i-2-slashes >= 0 && b[i-2-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 0 {
			return i
		}
	}
	return len(b)
}

func skipNested(b []byte, i int) int {
	for depth := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = skipString(b, i) - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return len(b)
}
