package activity

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"headgate/internal/db"
)

// Checkpoint vouches for a tenant's trail up to an event, outside of the
// database: whoever can only write there cannot cut the trail's end off, or
// write it anew, without being found out.
type Checkpoint struct {
	Tenant    string    `json:"tenant"`
	Seq       int64     `json:"seq"`
	Hash      string    `json:"hash"` // of that event, hex
	At        time.Time `json:"at"`
	PublicKey string    `json:"publicKey"`
	Signature string    `json:"signature"`
}

// Checkpoints keeps the newest checkpoint of each tenant as a file.
type Checkpoints struct {
	dir string
	key ed25519.PrivateKey
	now func() time.Time
}

// NewCheckpoints returns the keeper of a directory; seed is the signing key's.
func NewCheckpoints(dir string, seed [32]byte, now func() time.Time) *Checkpoints {
	return &Checkpoints{dir: dir, key: ed25519.NewKeyFromSeed(seed[:]), now: now}
}

// ErrTrail means that a trail does not reach its checkpoint any more, or not
// as it was.
var ErrTrail = errors.New("a trail does not match its checkpoint")

// Write makes a new checkpoint of every trail that has grown, and returns how
// many. A trail that does not match its old one keeps that one, as evidence.
func (c *Checkpoints) Write(ctx context.Context, q db.Querier) (written int, err error) {
	heads, err := db.All(ctx, q, func(e *Event) []any { return []any{&e.Tenant, &e.Seq, &e.Hash} }, `SELECT tenant_id, seq, hash FROM event_heads ORDER BY tenant_id`)
	if err != nil {
		return 0, fmt.Errorf("read the trails' heads: %w", err)
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return 0, fmt.Errorf("make the directory of checkpoints: %w", err)
	}
	var errs []error
	for _, h := range heads {
		known, err := c.Read(h.Tenant)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if known != nil && known.Seq == h.Seq && known.Hash == hex.EncodeToString(h.Hash) {
			continue
		}
		if known != nil {
			f, err := c.floor(ctx, q, h.Tenant)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if problem, err := known.check(ctx, q, f); err != nil || problem != "" {
				errs = append(errs, fmt.Errorf("%w: %s: %s", ErrTrail, h.Tenant, problem), err)
				continue
			}
		}
		if err := c.put(Checkpoint{Tenant: h.Tenant, Seq: h.Seq, Hash: hex.EncodeToString(h.Hash), At: c.now().UTC().Truncate(time.Second)}); err != nil {
			errs = append(errs, err)
			continue
		}
		written++
	}
	return written, errors.Join(errs...)
}

// message is what a signature is over.
func (p *Checkpoint) message() []byte {
	return fmt.Appendf(nil, "headgate checkpoint\n%s\n%d\n%s\n%s\n", p.Tenant, p.Seq, p.Hash, p.At.Format(time.RFC3339))
}

// put writes a checkpoint's file in one step.
func (c *Checkpoints) put(p Checkpoint) error {
	p.PublicKey = hex.EncodeToString(c.key.Public().(ed25519.PublicKey))
	p.Signature = hex.EncodeToString(ed25519.Sign(c.key, p.message()))
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	path := c.path(p.Tenant)
	tmp, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	_, err = tmp.Write(append(text, '\n'))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return os.Rename(path+".tmp", path)
}

func (c *Checkpoints) path(tenant string) string {
	return filepath.Join(c.dir, strings.Map(func(r rune) rune {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' {
			return r
		}
		return '-'
	}, tenant)+".json")
}

// Read returns a tenant's checkpoint, nil when there is none. One that this
// installation did not sign is an error.
func (c *Checkpoints) Read(tenant string) (*Checkpoint, error) {
	text, err := os.ReadFile(c.path(tenant))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	var p Checkpoint
	if err := json.Unmarshal(text, &p); err != nil {
		return nil, fmt.Errorf("%w: %s: its checkpoint is no checkpoint", ErrTrail, tenant)
	}
	signature, _ := hex.DecodeString(p.Signature)
	if p.Tenant != tenant || !ed25519.Verify(c.key.Public().(ed25519.PublicKey), p.message(), signature) {
		return nil, fmt.Errorf("%w: %s: its checkpoint was not signed by this installation", ErrTrail, tenant)
	}
	return &p, nil
}

// tenants lists whose checkpoints there are.
func (c *Checkpoints) tenants() ([]string, error) {
	names, err := filepath.Glob(filepath.Join(c.dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var list []string
	for _, n := range names {
		list = append(list, strings.TrimSuffix(filepath.Base(n), ".json"))
	}
	return list, nil
}

// check says what is wrong with the trail, which begins after f, as far as the
// checkpoint knows it; "" when nothing is. A checkpoint from before f has
// nothing left to vouch for: another replica has seen to that.
func (p *Checkpoint) check(ctx context.Context, q db.Querier, f floor) (problem string, err error) {
	if p.Seq <= f.seq {
		return "", nil
	}
	hash, err := db.Value[[]byte](ctx, q, `SELECT hash FROM events WHERE tenant_id = $1 AND seq = $2`, p.Tenant, p.Seq)
	if errors.Is(err, db.ErrNone) {
		return fmt.Sprintf("the end of the trail is missing: it had %d events at %s", p.Seq, p.At.Format(time.RFC3339)), nil
	}
	if err != nil {
		return "", fmt.Errorf("read the trail: %w", err)
	}
	if hex.EncodeToString(hash) != p.Hash {
		return fmt.Sprintf("it was written anew since %s", p.At.Format(time.RFC3339)), nil
	}
	return "", nil
}

// VerifyAll walks every trail, and holds each to its checkpoint.
func (c *Checkpoints) VerifyAll(ctx context.Context, q db.Querier) ([]Verdict, error) {
	tenants, err := db.All(ctx, q, func(s *string) []any { return []any{s} }, `SELECT tenant_id FROM event_heads UNION SELECT DISTINCT tenant_id FROM events`)
	if err != nil {
		return nil, fmt.Errorf("list trails: %w", err)
	}
	kept, err := c.tenants()
	if err != nil {
		return nil, err
	}
	tenants = append(tenants, kept...)
	slices.Sort(tenants)
	var verdicts []Verdict
	for _, tenant := range slices.Compact(tenants) {
		v, err := c.Verify(ctx, q, tenant)
		if err != nil {
			return verdicts, err
		}
		verdicts = append(verdicts, v)
	}
	return verdicts, nil
}
