//go:build linux && (amd64 || arm64)

package stage

import (
	"encoding/binary"
	"fmt"
)

// Where the parts of the image lie in the memory of the process.
const (
	codeBase   = 0x00400000
	recordBase = 0x10000000 // the interpreter knows this number
	dataBase   = 0x20000000

	recordSize = 16 * 8
	maxRecords = 4096
)

// never is a result no system call gives: it lies in the range of errors.
const never = ^uint64(0)

// Ref is an address in the memory of the program.
type Ref uint64

// Program is a list of system calls with their data. Build one with New.
type Program struct {
	ops     []*Op
	data    []byte
	failure *Label
	word0   uint64
	strings map[string]Ref
}

// Op is one system call of a Program. Its methods refine it and return it.
type Op struct {
	name   string
	at     Ref
	number uint64
	args   [6]uint64
	result Ref
	then   *Label
	on     [2]branch
	orElse *Label
	onward bool // a failure goes to the following record
}

type branch struct {
	value uint64
	to    *Label
}

// Label is a place in the program to go to.
type Label struct {
	at     Ref
	marked bool
}

// New returns an empty program.
func New() *Program {
	return &Program{strings: map[string]Ref{}}
}

// Call appends a system call. Arguments are integers, Refs, strings (stored
// with a final NUL) or bytes (stored).
func (p *Program) Call(name string, number int, args ...any) *Op {
	if len(p.ops) >= maxRecords-1 {
		panic("stage: program too long")
	}
	op := &Op{name: name, number: uint64(number), at: recordAt(len(p.ops) + 1)}
	for i, a := range args {
		op.args[i] = p.word(a)
	}
	p.ops = append(p.ops, op)
	return op
}

func recordAt(i int) Ref { return recordBase + Ref(i)*recordSize }

func (p *Program) word(a any) uint64 {
	switch v := a.(type) {
	case int:
		return uint64(v)
	case uint32:
		return uint64(v)
	case uint64:
		return v
	case uintptr:
		return uint64(v)
	case Ref:
		return uint64(v)
	case string:
		return uint64(p.String(v))
	case []byte:
		return uint64(p.Bytes(v))
	}
	panic(fmt.Sprintf("stage: an argument of type %T", a))
}

// Bytes stores b, aligned to eight bytes and followed by eight zero bytes, so
// that a result may be written over any part of it.
func (p *Program) Bytes(b []byte) Ref {
	at := dataBase + Ref(len(p.data))
	p.data = append(p.data, b...)
	p.data = append(p.data, make([]byte, 8+(8-len(b)%8)%8)...)
	return at
}

// String stores s with a final NUL; equal strings share their place.
func (p *Program) String(s string) Ref {
	at, ok := p.strings[s]
	if !ok {
		at = p.Bytes([]byte(s))
		p.strings[s] = at
	}
	return at
}

// Words stores integers (of the types Call takes) as 64-bit words.
func (p *Program) Words(words ...any) Ref {
	b := make([]byte, 0, len(words)*8)
	for _, w := range words {
		b = binary.LittleEndian.AppendUint64(b, p.word(w))
	}
	return p.Bytes(b)
}

// Strings stores a NULL-terminated array of strings, as execve wants it.
func (p *Program) Strings(list []string) Ref {
	words := make([]any, 0, len(list)+1)
	for _, s := range list {
		words = append(words, s)
	}
	return p.Words(append(words, 0)...)
}

// Label returns a place that Mark sets later.
func (p *Program) Label() *Label { return &Label{} }

// Mark sets the label to the call appended next.
func (p *Program) Mark(l *Label) {
	l.at, l.marked = recordAt(len(p.ops)+1), true
}

// OnFailure says where a call goes that fails and has no Else, and gives the
// first word of what is then found at Failure.
func (p *Program) OnFailure(l *Label, word uint64) { p.failure, p.word0 = l, word }

// Failure is the address of three words: OnFailure's, the failed record, and
// its error number.
func (p *Program) Failure() Ref { return recordBase + 16 }

// StepName returns the name of the record at the address, or "".
func (p *Program) StepName(record uint64) string {
	i := (int64(record) - recordBase) / recordSize
	if i < 1 || i > int64(len(p.ops)) {
		return ""
	}
	return p.ops[i-1].name
}

// Steps returns the names of all calls, in order.
func (p *Program) Steps() []string {
	names := make([]string, len(p.ops))
	for i, op := range p.ops {
		names[i] = op.name
	}
	return names
}

// Arg is the address of an argument, for another call's result to go Into.
func (o *Op) Arg(i int) Ref { return o.at + 8 + Ref(i)*8 }

// Set changes an argument, for addresses that are known only later.
func (o *Op) Set(i int, a Ref) { o.args[i] = uint64(a) }

// Into stores the result, eight bytes, at the address.
func (o *Op) Into(at Ref) *Op { o.result = at; return o }

// Then goes to the label after success instead of to the following call.
func (o *Op) Then(l *Label) *Op { o.then = l; return o }

// On goes to the label when the result is the value. At most two per call.
func (o *Op) On(value uint64, l *Label) *Op {
	i := 0
	if o.on[0].to != nil {
		i = 1
	}
	o.on[i] = branch{value, l}
	return o
}

// Else goes to the label when the call fails.
func (o *Op) Else(l *Label) *Op { o.orElse = l; return o }

// Maybe goes on with the following call when this one fails.
func (o *Op) Maybe() *Op { o.onward = true; return o }
