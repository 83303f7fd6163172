//go:build linux && (amd64 || arm64)

package stage

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// interpreter returns where the machine code of the interpreter begins. It is
// position-independent and ends with endMark.
func interpreter() unsafe.Pointer

var endMark = []byte("DAEHETAG")

const (
	maxCode = 512   // the interpreter is well below this
	segment = 65536 // the largest page size of the two architectures
)

// code copies the interpreter out of our own text.
func code() ([]byte, error) {
	text := unsafe.Slice((*byte)(interpreter()), maxCode)
	end := bytes.Index(text, endMark)
	if end < 0 {
		return nil, fmt.Errorf("stage: the interpreter has no end mark")
	}
	return bytes.Clone(text[:end]), nil
}

// Memory writes the program's ELF image into an anonymous file that the caller
// closes: in memory, or on a host that forbids that to be executed, one among
// the temporary files. To run it, hand it to a new process as one of its
// descriptors and execute /proc/self/fd/ with that number: the numbers of
// others are not safe between fork and exec.
func (p *Program) Memory(name string) (*os.File, error) {
	text, err := code()
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if err == unix.EINVAL { // kernels before 6.3 do not know MFD_EXEC
		fd, err = unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return p.temporary(text)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := p.write(f, text); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// temporary writes the image into a file that has no name when it is returned,
// and nobody can write any more.
func (p *Program) temporary(text []byte) (*os.File, error) {
	f, err := os.CreateTemp("", "headgate-init-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err := p.write(f, text); err != nil {
		return nil, err
	}
	if err := f.Chmod(0o500); err != nil {
		return nil, err
	}
	return os.Open(f.Name())
}

func (p *Program) write(f *os.File, text []byte) error {
	for i, part := range [][]byte{p.header(len(text)), text, p.records(), p.data} {
		off := int64(i) * segment
		if i == 3 {
			off = int64(2+recordSegments) * segment
		}
		if _, err := f.WriteAt(part, off); err != nil {
			return err
		}
	}
	return nil
}

const recordSegments = maxRecords * recordSize / segment

func (p *Program) header(text int) []byte {
	machine := elf.EM_X86_64
	if runtime.GOARCH == "arm64" {
		machine = elf.EM_AARCH64
	}
	var b bytes.Buffer
	put := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) } // a Buffer does not fail
	h := elf.Header64{
		Type: uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT),
		Entry: codeBase, Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 4,
	}
	copy(h.Ident[:], elf.ELFMAG)
	h.Ident[elf.EI_CLASS], h.Ident[elf.EI_DATA], h.Ident[elf.EI_VERSION] = byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)
	put(h)
	load := func(flags elf.ProgFlag, off, at, size uint64) {
		put(elf.Prog64{Type: uint32(elf.PT_LOAD), Flags: uint32(flags), Off: off, Vaddr: at, Paddr: at, Filesz: size, Memsz: size, Align: segment})
	}
	load(elf.PF_R|elf.PF_X, segment, codeBase, uint64(text))
	load(elf.PF_R|elf.PF_W, 2*segment, recordBase, uint64(len(p.ops)+2)*recordSize)
	load(elf.PF_R|elf.PF_W, (2+recordSegments)*segment, dataBase, uint64(len(p.data)))
	put(elf.Prog64{Type: uint32(elf.PT_GNU_STACK), Flags: uint32(elf.PF_R | elf.PF_W), Align: 16})
	return b.Bytes()
}

// records lays out the header record, the calls, and one scratch record that
// takes the results nobody wants.
func (p *Program) records() []byte {
	scratch := recordAt(len(p.ops) + 1)
	out := make([]byte, 0, (len(p.ops)+2)*recordSize)
	put := func(words ...uint64) {
		for i := range 16 {
			w := uint64(0)
			if i < len(words) {
				w = words[i]
			}
			out = binary.LittleEndian.AppendUint64(out, w)
		}
	}
	put(uint64(recordAt(1)), place(p.failure), p.word0)
	for i, op := range p.ops {
		following := uint64(recordAt(i + 2))
		result, then, orElse := op.result, following, place(op.orElse)
		if result == 0 {
			result = scratch
		}
		if op.then != nil {
			then = place(op.then)
		}
		if op.onward {
			orElse = following
		}
		first, second := op.on[0].words(), op.on[1].words()
		put(op.number, op.args[0], op.args[1], op.args[2], op.args[3], op.args[4], op.args[5],
			uint64(result), then, first[0], first[1], second[0], second[1], orElse)
	}
	put()
	return out
}

func (b branch) words() [2]uint64 {
	if b.to == nil {
		return [2]uint64{never, 0}
	}
	return [2]uint64{b.value, place(b.to)}
}

func place(l *Label) uint64 {
	if l == nil {
		return 0
	}
	if !l.marked {
		panic("stage: a label that was never marked")
	}
	return uint64(l.at)
}
