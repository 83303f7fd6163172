package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"sync"
)

const (
	magic      = 0x4a474448 // "HDGJ"
	headerSize = 40         // magic, checksum, length, reserved, number, id
	// DefaultSize is the size of each of the two files.
	DefaultSize = 16 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// The errors of this package.
var (
	ErrFull   = errors.New("both journal files hold frames that have not been applied")
	ErrBroken = errors.New("the journal failed to write and must be healed")
	ErrTooBig = errors.New("the record does not fit into a journal file")
	ErrGap    = errors.New("the journal begins after the point where the database ends: the database is an older copy than the journal. If a backup was restored on purpose, move the files journal-0 and journal-1 away and start again")
)

// ID tells journals of different databases apart.
type ID [16]byte

// Journal is an open journal. Append is for one caller at a time; the rest is
// safe for concurrent use.
type Journal struct {
	id      ID
	size    int64
	files   [2]*os.File
	disk    disk
	last    [2]uint64 // newest frame in each file
	plain   [2]int64  // up to where each file's blocks have been written since Open
	current int
	at      int64
	buf     []byte

	mu      sync.Mutex
	next    uint64
	applied uint64
	broken  bool
	pending []frame // found at Open, for Replay
}

type frame struct {
	number  uint64
	payload []byte
}

// Open opens the journal in a directory, or makes it. after is the number of
// the last frame whose rows are in the database.
func Open(dir string, id ID, after uint64, size int64) (*Journal, error) {
	if size <= 0 {
		size = DefaultSize
	}
	j := &Journal{id: id, size: size, applied: after, next: after + 1, disk: newDisk()}
	for i := range j.files {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf("journal-%d", i)), os.O_RDWR|os.O_CREATE, 0o600)
		if err == nil {
			j.files[i] = f
			err = allocate(f, size)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open the journal: %w", err), j.Close())
		}
	}
	if err := j.scan(); err != nil {
		return nil, errors.Join(err, j.Close())
	}
	return j, nil
}

// scan reads both files and keeps what has not been applied. Writing goes on
// in the file whose frames are older, from its start.
func (j *Journal) scan() error {
	var found [2][]frame
	for i, f := range j.files {
		b := make([]byte, j.size)
		if _, err := f.ReadAt(b, 0); err != nil {
			return fmt.Errorf("read the journal: %w", err)
		}
		found[i] = j.frames(b)
		if n := len(found[i]); n > 0 {
			j.last[i] = found[i][n-1].number
		}
	}
	older := 0
	if j.last[1] < j.last[0] {
		older = 1
	}
	for _, fr := range append(found[older], found[1-older]...) {
		switch {
		case fr.number <= j.applied:
		case fr.number == j.next:
			j.pending = append(j.pending, fr)
			j.next++
		default:
			return ErrGap
		}
	}
	j.current = older
	// What is still to be replayed must not be written over: if the older file
	// has any of it, the caller applies first (Replay, then Applied).
	return nil
}

// frames reads the run of frames at the start of a file.
func (j *Journal) frames(b []byte) (list []frame) {
	for at := int64(0); at+headerSize <= int64(len(b)); {
		h := b[at:]
		n := int64(binary.LittleEndian.Uint32(h[8:]))
		if binary.LittleEndian.Uint32(h) != magic || at+headerSize+n > int64(len(b)) || ID(h[24:40]) != j.id {
			return list
		}
		if crc32.Checksum(h[8:headerSize+n], castagnoli) != binary.LittleEndian.Uint32(h[4:]) {
			return list
		}
		number := binary.LittleEndian.Uint64(h[16:])
		if len(list) > 0 && number != list[len(list)-1].number+1 {
			return list // what an earlier turn of the file left behind
		}
		list = append(list, frame{number, h[headerSize : headerSize+n]})
		at += aligned(headerSize + n)
	}
	return list
}

// aligned keeps headers on eight bytes.
func aligned(n int64) int64 { return (n + 7) &^ 7 }

// Replay calls fn for each frame that was confirmed and not applied, in order.
func (j *Journal) Replay(fn func(number uint64, payload []byte) error) error {
	for _, fr := range j.pending {
		if err := fn(fr.number, fr.payload); err != nil {
			return err
		}
	}
	j.pending = nil
	return nil
}

// Append writes a payload and returns its number once it is on disk.
func (j *Journal) Append(payload []byte) (uint64, error) {
	total := aligned(headerSize + int64(len(payload)))
	if total > j.size {
		return 0, ErrTooBig
	}
	j.mu.Lock()
	number, applied, broken := j.next, j.applied, j.broken
	j.mu.Unlock()
	if broken {
		return 0, ErrBroken
	}
	if j.at+total > j.size || j.at == 0 && j.last[j.current] > applied {
		if err := j.turn(applied); err != nil {
			return 0, err
		}
	}
	err := j.clear(j.at + total)
	if err == nil {
		j.encode(number, payload, total)
		err = j.disk.write(j.files[j.current], j.buf, j.at)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.broken = true
		return 0, fmt.Errorf("write the journal: %w", err)
	}
	j.at += total
	j.last[j.current] = number
	j.next = number + 1
	return number, nil
}

// zeros is what is cleared at a time.
var zeros [1 << 20]byte

// clear writes zeros ahead of the frames, at least to the given place. Blocks
// that a file system has set aside but never written are marked so, and the
// first write to each changes the mark: a sync then has the file system's own
// journal to write as well, and takes several times as long. What is
// cleared belongs to frames of an earlier turn, all of them applied.
func (j *Journal) clear(to int64) error {
	for from := j.plain[j.current]; from < to; {
		end := min(from+int64(len(zeros)), j.size)
		if _, err := j.files[j.current].WriteAt(zeros[:end-from], from); err != nil {
			return err
		}
		from = end
		j.plain[j.current] = end
	}
	return nil
}

// turn goes on with the other file, if everything in it has been applied.
func (j *Journal) turn(applied uint64) error {
	other := 1 - j.current
	if j.last[other] > applied {
		return ErrFull
	}
	j.current, j.at = other, 0
	return nil
}

func (j *Journal) encode(number uint64, payload []byte, total int64) {
	if int64(cap(j.buf)) < total {
		j.buf = make([]byte, total*2)
	}
	j.buf = j.buf[:total]
	b := j.buf
	binary.LittleEndian.PutUint32(b, magic)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[12:], 0)
	binary.LittleEndian.PutUint64(b[16:], number)
	copy(b[24:], j.id[:])
	n := headerSize + copy(b[headerSize:], payload)
	clear(b[n:])
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b[8:n], castagnoli))
}

// Applied says that the rows of every frame up to number are in the database.
func (j *Journal) Applied(number uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.applied = max(j.applied, number)
}

// Heal makes a journal that failed usable again. Everything confirmed must
// have been applied, and the number it returns (that of the frame that failed,
// which may or may not be on disk) must be stored as applied before anything
// else is appended.
func (j *Journal) Heal(store func(number uint64) error) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.broken {
		return nil
	}
	skip := j.next
	if err := store(skip); err != nil {
		return err
	}
	j.applied, j.next = skip, skip+1
	j.current, j.at, j.broken = 1-j.current, 0, false
	return nil
}

// Close closes the files.
func (j *Journal) Close() error {
	errs := []error{j.disk.Close()}
	for _, f := range j.files {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}
