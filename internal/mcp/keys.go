package mcp

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"slices"
)

const (
	fewKeys     = 16   // up to here every key is compared with every other
	keptKeys    = 4096 // scratch beyond these is given back after a message
	keptBytes   = 16 << 10
	escapedFlag = 1 << 31
)

// keyRef is a key met in an object that is still open. Equal keys have equal
// signatures: their ends and length in small objects, a seeded hash in big ones.
type keyRef struct {
	sig        uint64
	start, end uint32 // of the raw text inside the quotes; the top bit of end marks escapes
}

// keySet finds duplicate keys in nested objects. It is a stack: the innermost
// open object owns the tops of refs and slots.
type keySet struct {
	refs   []keyRef
	slots  []uint32 // open addressing, for big objects: an index into the frame's refs, plus one
	a, b   []byte   // decoded keys under comparison
	seed   maphash.Seed
	seeded bool
}

// frame is the part of the set that belongs to one object.
type frame struct{ refs, slots, size int }

func (k *keySet) open() frame { return frame{refs: len(k.refs), slots: len(k.slots)} }

func (k *keySet) close(f *frame) {
	k.refs, k.slots = k.refs[:f.refs], k.slots[:f.slots]
}

// clear empties the set, and gives back what a hostile message made it take.
func (k *keySet) clear() {
	if cap(k.refs) > keptKeys {
		k.refs, k.slots = nil, nil
	}
	if cap(k.a)+cap(k.b) > keptBytes {
		k.a, k.b = nil, nil
	}
	k.refs, k.slots = k.refs[:0], k.slots[:0]
}

// unique adds the key just read to the open object. Keys are compared decoded.
func (s *scanner) unique(f *frame, key Span) bool {
	k := s.keys
	if s.strict && s.marks&nul != 0 {
		s.fail(flawNUL, key.Start)
		return false
	}
	if len(k.refs) >= s.lim.Keys {
		s.fail(flawKeys, key.Start)
		return false
	}
	ref := keyRef{start: uint32(key.Start + 1), end: uint32(key.End - 1)}
	text := s.b[ref.start:ref.end]
	if s.marks&escaped != 0 {
		k.a = appendUnquoted(k.a[:0], text)
		text = k.a
		ref.end |= escapedFlag
	}
	var fresh bool
	if len(k.refs)-f.refs < fewKeys {
		ref.sig = signature(text)
		fresh = k.addFew(s.b, f, ref, text)
	} else {
		fresh = k.addMany(s.b, f, ref, text)
	}
	if !fresh {
		s.fail(flawDuplicate, key.Start)
	}
	return fresh
}

func (k *keySet) addFew(b []byte, f *frame, ref keyRef, text []byte) bool {
	for _, old := range k.refs[f.refs:] {
		if old.sig == ref.sig && bytes.Equal(k.decoded(b, old), text) {
			return false
		}
	}
	k.refs = append(k.refs, ref)
	return true
}

func (k *keySet) addMany(b []byte, f *frame, ref keyRef, text []byte) bool {
	if n := len(k.refs) - f.refs; n*2 >= f.size {
		k.grow(b, f)
	}
	ref.sig = maphash.Bytes(k.seed, text)
	mask := uint64(f.size - 1)
	slots := k.slots[f.slots:]
	at := ref.sig & mask
	for ; slots[at] != 0; at = (at + 1) & mask {
		old := k.refs[f.refs+int(slots[at])-1]
		if old.sig == ref.sig && bytes.Equal(k.decoded(b, old), text) {
			return false
		}
	}
	k.refs = append(k.refs, ref)
	slots[at] = uint32(len(k.refs) - f.refs)
	return true
}

// grow makes the frame's table four times as big as its keys. The seed is
// random, so nobody can choose keys that collide.
func (k *keySet) grow(b []byte, f *frame) {
	refs := k.refs[f.refs:]
	if !k.seeded {
		k.seed, k.seeded = maphash.MakeSeed(), true
	}
	if f.size == 0 {
		for i, ref := range refs {
			refs[i].sig = maphash.Bytes(k.seed, k.decoded(b, ref))
		}
	}
	f.size = 1 << bits.Len(uint(4*len(refs)-1))
	k.slots = slices.Grow(k.slots[:f.slots], f.size)[:f.slots+f.size]
	slots, mask := k.slots[f.slots:], uint64(f.size-1)
	clear(slots)
	for i, ref := range refs {
		at := ref.sig & mask
		for slots[at] != 0 {
			at = (at + 1) & mask
		}
		slots[at] = uint32(i + 1)
	}
}

// decoded returns the text of an earlier key, good until the next call.
func (k *keySet) decoded(b []byte, ref keyRef) []byte {
	text := b[ref.start : ref.end&^escapedFlag]
	if ref.end&escapedFlag == 0 {
		return text
	}
	k.b = appendUnquoted(k.b[:0], text)
	return k.b
}

// signature tells most different keys apart without looking at all of them.
func signature(text []byte) uint64 {
	n := len(text)
	if n >= 8 {
		first, last := binary.LittleEndian.Uint64(text), binary.LittleEndian.Uint64(text[n-8:])
		return first ^ bits.RotateLeft64(last, 29) ^ uint64(n)<<56
	}
	var x uint64
	for i, c := range text {
		x |= uint64(c) << (8 * i)
	}
	return x ^ uint64(n)<<56
}
