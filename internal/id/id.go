package id

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"sync"
	"time"
)

const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"

var decoded = func() (t [256]byte) {
	for i := range t {
		t[i] = 0xff
	}
	for i, c := range alphabet {
		t[c] = byte(i)
	}
	return t
}()

// Raw is an identifier without its prefix: a UUIDv7 (RFC 9562 section 5.7).
type Raw [16]byte

var clock struct {
	sync.Mutex
	last uint64 // milliseconds<<12 | counter
}

// NewRaw returns a fresh UUIDv7. Ids made by one process are strictly
// increasing: rand_a is a counter (RFC 9562 section 6.2, method 1).
func NewRaw() Raw { return At(time.Now()) }

// At is NewRaw for callers that have just looked at the clock.
func At(moment time.Time) Raw {
	now := uint64(moment.UnixMilli()) << 12
	clock.Lock()
	if now <= clock.last {
		now = clock.last + 1
	}
	clock.last = now
	clock.Unlock()
	var r Raw
	binary.BigEndian.PutUint64(r[:8], now>>12<<16|0x7000|now&0xfff)
	if _, err := rand.Read(r[8:]); err != nil {
		panic(err) // crypto/rand never fails on supported systems
	}
	r[8] = r[8]&0x3f | 0x80
	return r
}

// New returns a fresh identifier with the prefix, such as "srv".
func New(prefix string) string { return NewRaw().Text(prefix) }

// Text returns the prefixed form of r.
func (r Raw) Text(prefix string) string {
	b := make([]byte, len(prefix)+27)
	n := copy(b, prefix)
	b[n] = '_'
	hi, lo := binary.BigEndian.Uint64(r[:8]), binary.BigEndian.Uint64(r[8:])
	for i := len(b) - 1; i > n; i-- {
		b[i] = alphabet[lo&31]
		hi, lo = hi>>5, hi<<59|lo>>5
	}
	return string(b)
}

// Time returns the moment the id was made, to the millisecond.
func (r Raw) Time() time.Time {
	return time.UnixMilli(int64(binary.BigEndian.Uint64(r[:8]) >> 16)).UTC()
}

// Parse reads an id of the given prefix in either form, prefixed or plain
// uuid, and returns its canonical prefixed text. ok is false for everything
// else; another noun's id is something else.
func Parse(prefix, text string) (canonical string, ok bool) {
	r, ok := ParseRaw(prefix, text)
	switch {
	case !ok:
		return "", false
	case strings.IndexByte(text, '_') >= 0:
		return text, true // the prefixed form has one spelling
	}
	return r.Text(prefix), true
}

// ParseRaw is Parse for callers that want the bytes.
func ParseRaw(prefix, text string) (r Raw, ok bool) {
	if len(text) == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-' {
		b, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
		if err != nil || len(b) != 16 {
			return r, false
		}
		return Raw(b), true
	}
	body, found := strings.CutPrefix(text, prefix)
	if !found || len(body) != 27 || body[0] != '_' || body[1] > '7' {
		return r, false
	}
	body = body[1:]
	var hi, lo uint64
	for i := range 26 {
		v := decoded[body[i]]
		if v == 0xff {
			return r, false
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(v)
	}
	binary.BigEndian.PutUint64(r[:8], hi)
	binary.BigEndian.PutUint64(r[8:], lo)
	return r, true
}

// UUID returns the plain uuid form of a prefixed id, or the text unchanged
// when it is none.
func UUID(text string) string {
	i := strings.LastIndexByte(text, '_')
	if i < 0 {
		return text
	}
	r, ok := ParseRaw(text[:i], text)
	if !ok {
		return text
	}
	h := hex.EncodeToString(r[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
