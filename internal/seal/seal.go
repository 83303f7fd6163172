package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// ErrOpen means that a blob was not sealed by these keys for this place.
var ErrOpen = errors.New("a sealed value does not open: it was moved, damaged, or sealed with another key")

// Keys are the installation's master keys and peppers.
type Keys struct {
	boxes   []box
	peppers []pepper
}

type box struct {
	id   string
	aead cipher.AEAD
}

type pepper struct {
	id   string
	macs *sync.Pool // of *mac: keyed once, because every call's credential is hashed
}

// mac carries its input and output, so that hashing allocates nothing.
type mac struct {
	hash.Hash
	in  [128]byte
	out [sha256.Size]byte
}

type file struct {
	Version int       `json:"version"`
	Master  []keyText `json:"master"`
	Pepper  []keyText `json:"pepper"`
}

type keyText struct {
	ID  string `json:"id"`
	Key string `json:"key"` // 32 bytes, base64
}

// Generate returns fresh keys and the file text that holds them.
func Generate() (*Keys, []byte, error) {
	f := file{Version: 1, Master: []keyText{newKey("m1")}, Pepper: []keyText{newKey("p1")}}
	text, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return nil, nil, err
	}
	k, err := Parse(text)
	return k, append(text, '\n'), err
}

func newKey(id string) keyText {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails on supported systems
	return keyText{id, base64.StdEncoding.EncodeToString(b)}
}

// Parse reads the text of a keys file.
func Parse(text []byte) (*Keys, error) {
	var f file
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, errors.New("the keys file is no JSON; restore it from your backup")
	}
	if f.Version != 1 || len(f.Master) == 0 || len(f.Pepper) == 0 {
		return nil, errors.New("the keys file lacks a master key or a pepper; restore it from your backup")
	}
	k := &Keys{}
	for _, m := range f.Master {
		key, err := decodeKey(m)
		if err != nil {
			return nil, err
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, err
		}
		k.boxes = append(k.boxes, box{m.ID, aead})
	}
	for _, p := range f.Pepper {
		key, err := decodeKey(p)
		if err != nil {
			return nil, err
		}
		k.peppers = append(k.peppers, pepper{p.ID, &sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, key)} }}})
	}
	return k, nil
}

func decodeKey(t keyText) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(t.Key)
	if err != nil || len(key) != 32 || t.ID == "" || len(t.ID) > 16 {
		return nil, errors.New("a key in the keys file is not 32 bytes of base64 with an id; restore the file from your backup")
	}
	weak := true
	for _, b := range key {
		weak = weak && b == key[0]
	}
	if weak {
		return nil, errors.New("a key in the keys file is a constant: refuse to start with it; generate a random one")
	}
	return key, nil
}

// Load reads the keys file. When it does not exist and fresh is true, it is
// made (mode 0600); otherwise a missing file is an error, because new keys
// would make every sealed value unreadable.
func Load(path string, fresh bool) (*Keys, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if !fresh {
			return nil, fmt.Errorf("the keys file %s is missing, and the database holds values sealed with it; restore it, or name it with --keys", path)
		}
		k, text, err := Generate()
		if err != nil {
			return nil, err
		}
		return k, writeNew(path, text)
	}
	if err != nil {
		return nil, fmt.Errorf("read the keys file: %w", err)
	}
	return Parse(text)
}

// writeNew writes a file that must not exist, whole or not at all, and syncs it
// and its directory: it must not be lost after the first value has been sealed
// with it, and half of one would never start again.
func writeNew(path string, text []byte) error {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, ".keys-*") // mode 0600
	if err != nil {
		return fmt.Errorf("write the keys file: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Link(f.Name(), path) // fails when somebody else has made one meanwhile
	}
	if err != nil {
		return fmt.Errorf("write the keys file: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Seal returns plain sealed for one place. The blob names its key.
func (k *Keys) Seal(place string, plain []byte) []byte {
	b := k.boxes[0]
	out := append([]byte{1, byte(len(b.id))}, b.id...)
	return b.aead.Seal(out, nil, plain, []byte(place+"\x00"+b.id))
}

// Open returns what was sealed for this place, or ErrOpen.
func (k *Keys) Open(place string, sealed []byte) ([]byte, error) {
	if len(sealed) < 2 || sealed[0] != 1 || len(sealed) < 2+int(sealed[1]) {
		return nil, ErrOpen
	}
	id, body := string(sealed[2:2+sealed[1]]), sealed[2+sealed[1]:]
	for _, b := range k.boxes {
		if b.id != id {
			continue
		}
		plain, err := b.aead.Open(nil, nil, body, []byte(place+"\x00"+id))
		if err != nil {
			return nil, ErrOpen
		}
		return plain, nil
	}
	return nil, ErrOpen
}

// Hash returns the HMAC-SHA-256 of a credential under the newest pepper, and
// the pepper's id.
func (k *Keys) Hash(secret string) (sum [32]byte, pepperID string) {
	return k.peppers[0].sum(secret), k.peppers[0].id
}

// Hashes returns the hash under every pepper, newest first: after a rotation
// older credentials are found under theirs.
func (k *Keys) Hashes(secret string) [][32]byte {
	sums := make([][32]byte, len(k.peppers))
	for i, p := range k.peppers {
		sums[i] = p.sum(secret)
	}
	return sums
}

func (p pepper) sum(secret string) [32]byte {
	m := p.macs.Get().(*mac)
	defer p.macs.Put(m)
	m.Reset()
	for len(secret) > 0 {
		n := copy(m.in[:], secret)
		m.Write(m.in[:n])
		secret = secret[n:]
	}
	m.Sum(m.out[:0])
	clear(m.in[:]) // keep no credential longer than it takes
	return m.out
}

// Derive returns 32 bytes for a purpose ("cursor", "request-state"), stable
// as long as the pepper is.
func (k *Keys) Derive(purpose string) [32]byte { return k.peppers[0].sum("derive:" + purpose) }

const checkText = "headgate"

// Check returns the value to store at first start, and Verify whether a
// stored one was made with these keys. It is sealed with the master key and
// holds a digest that only the pepper makes.
func (k *Keys) Check() []byte {
	oldest := k.peppers[len(k.peppers)-1]
	sum := oldest.sum("derive:" + checkText)
	return k.Seal("installation:check", append([]byte(checkText), sum[:]...))
}

// Verify reports whether a stored check value belongs to these keys. complete
// is false when it says nothing of the pepper: store Check's in its place.
func (k *Keys) Verify(stored []byte) (complete bool, err error) {
	plain, err := k.Open("installation:check", stored)
	digest, ok := bytes.CutPrefix(plain, []byte(checkText))
	if err != nil || !ok {
		return false, errors.New("the keys file does not belong to this database: its values cannot be opened; name the right file with --keys")
	}
	if len(digest) == 0 {
		return false, nil
	}
	for _, p := range k.peppers {
		if sum := p.sum("derive:" + checkText); hmac.Equal(sum[:], digest) {
			return true, nil
		}
	}
	return false, errors.New("the keys file does not belong to this database: it lacks the pepper that keys and tokens were hashed with; name the right file with --keys")
}
