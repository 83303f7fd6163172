package call

import (
	"encoding/binary"
	"errors"
	"time"

	"headgate/internal/id"
)

// A record in the journal: every field, texts with their length before them.
// The first byte is the layout's version, so that a later one can still read
// what an earlier left.
const recordLayout = 1

var errRecord = errors.New("a journal record cannot be read")

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendRecord(b []byte, r *Record) []byte {
	st, l := &r.Settlement, &r.Line
	b = append(b, recordLayout)
	for _, s := range [...]string{st.Account, st.Service, st.By, l.Organization, l.Account, l.Workspace, l.Server, l.Service, l.Principal, l.User,
		l.Door, l.Operation, l.Name, l.ErrorCode, l.IP, l.UserAgent} {
		b = appendText(b, s)
	}
	for _, n := range [...]int64{st.Charge, st.Price, st.At.UnixNano(), int64(l.StatusCode), l.Cost, l.Charged, l.CostMicros, int64(l.Duration),
		int64(l.RequestBytes), int64(l.ResponseBytes), l.CreatedAt.UnixNano()} {
		b = binary.AppendVarint(b, n)
	}
	var flags byte
	for i, f := range [...]bool{st.Settled, l.Personal, l.Success, l.BackendError} {
		if f {
			flags |= 1 << i
		}
	}
	b = append(b, flags)
	b = append(b, st.CallID[:]...)
	return append(b, l.ID[:]...)
}

// reader takes a record apart; the first mistake sticks.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) text() string {
	n, used := binary.Uvarint(r.b)
	if used <= 0 || uint64(len(r.b)-used) < n {
		r.bad = true
		return ""
	}
	s := string(r.b[used : used+int(n)])
	r.b = r.b[used+int(n):]
	return s
}

func (r *reader) number() int64 {
	n, used := binary.Varint(r.b)
	if used <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[used:]
	return n
}

func (r *reader) take(n int) []byte {
	if len(r.b) < n {
		r.bad = true
		return make([]byte, n)
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

// readRecord reads one record and returns what follows it.
func readRecord(b []byte) (rec Record, rest []byte, err error) {
	r := reader{b: b}
	if r.take(1)[0] != recordLayout {
		return rec, nil, errRecord
	}
	st, l := &rec.Settlement, &rec.Line
	for _, p := range [...]*string{&st.Account, &st.Service, &st.By, &l.Organization, &l.Account, &l.Workspace, &l.Server, &l.Service, &l.Principal, &l.User,
		&l.Door, &l.Operation, &l.Name, &l.ErrorCode, &l.IP, &l.UserAgent} {
		*p = r.text()
	}
	var n [11]int64
	for i := range n {
		n[i] = r.number()
	}
	st.Charge, st.Price, st.At = n[0], n[1], time.Unix(0, n[2]).UTC()
	l.StatusCode, l.Cost, l.Charged, l.CostMicros, l.Duration = int(n[3]), n[4], n[5], n[6], time.Duration(n[7])
	l.RequestBytes, l.ResponseBytes, l.CreatedAt = int(n[8]), int(n[9]), time.Unix(0, n[10]).UTC()
	flags := r.take(1)[0]
	for i, p := range [...]*bool{&st.Settled, &l.Personal, &l.Success, &l.BackendError} {
		*p = flags&(1<<i) != 0
	}
	st.CallID, l.ID = id.Raw(r.take(16)), id.Raw(r.take(16))
	if r.bad {
		return rec, nil, errRecord
	}
	return rec, r.b, nil
}
