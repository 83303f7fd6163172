package rest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"headgate/internal/fault"
)

// IdempotencyStore keeps answers by organization and key for 24 hours.
type IdempotencyStore interface {
	// Begin claims the key for a request with this fingerprint. It returns the
	// stored answer when the same request was answered, ErrKeyReused when
	// another one used the key, ErrInFlight when the same one runs. A claim
	// whose holder died must lapse by itself (minutes); ErrAnswerLost when the
	// request had been carried out by then.
	Begin(ctx context.Context, org, key string, fingerprint [32]byte) (stored []byte, err error)
	// Finish stores the answer of a claimed request.
	Finish(ctx context.Context, org, key string, answer []byte) error
	// Abandon frees the key of a request that had no effect.
	Abandon(ctx context.Context, org, key string) error
}

// storedAnswer is what a replay needs. It is stored sealed, and without the
// keys it revealed: those are shown once.
type storedAnswer struct {
	Status   int    `json:"status"`
	Type     string `json:"type,omitempty"`
	Location string `json:"location,omitempty"`
	Body     []byte `json:"body"`
}

// storeTime bounds the store's work after the handler, which must happen even
// when the client has gone.
const storeTime = 5 * time.Second

// once serves an idempotent operation. The answer is stored before it is sent:
// a caller who saw it can rely on the replay.
func (d *Door) once(st *state, w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
	key, print, err := d.fingerprint(st, r)
	if err != nil {
		d.Refuse(w, r, err)
		return
	}
	org := st.principal.Organization
	stored, err := d.cfg.Idempotency.Begin(r.Context(), org, key, print)
	if err != nil {
		d.Refuse(w, r, err)
		return
	}
	if stored != nil {
		d.replay(w, r, org, key, stored)
		return
	}
	rec := &recorder{header: w.Header(), status: http.StatusOK}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), d.timeout(st.op)+storeTime)
	defer cancel()
	settled := false
	defer func() {
		if !settled { // a panic: free the key before it is answered
			_ = d.cfg.Idempotency.Abandon(ctx, org, key)
		}
	}()
	next(rec, r)
	settled = true
	if err := d.settle(ctx, st, org, key, rec); err != nil {
		// The work is done and cannot be undone; the caller gets its answer.
		st.info.Err = errors.Join(st.info.Err, fmt.Errorf("store the answer of a repeated request: %w", err))
	}
	w.WriteHeader(rec.status)
	_, _ = w.Write(rec.body.Bytes())
}

// fingerprint reads the key and sums up the request, with the principal in it:
// a key of another principal of the organization does not replay its answers.
func (d *Door) fingerprint(st *state, r *http.Request) (key string, sum [32]byte, err error) {
	keys := r.Header["Idempotency-Key"]
	if len(keys) != 1 || len(keys[0]) == 0 || len(keys[0]) > 255 {
		return "", sum, ErrKey
	}
	for i := range len(keys[0]) {
		if b := keys[0][i]; b <= ' ' || b >= 0x7f {
			return "", sum, ErrKey
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", sum, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	text, err := json.Marshal([]string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, st.principal.ID, string(body)})
	return keys[0], sha256.Sum256(text), err
}

// settle stores what had an effect. A request refused before its handler ran,
// throttled or failed without one may be tried again with the same key.
func (d *Door) settle(ctx context.Context, st *state, org, key string, rec *recorder) error {
	if !st.ran || rec.status >= 500 && !st.final || rec.status == fault.Throttled.Status() {
		return d.cfg.Idempotency.Abandon(ctx, org, key)
	}
	plain, err := json.Marshal(storedAnswer{rec.status, rec.header.Get("Content-Type"), rec.header.Get("Location"), d.cfg.Credentials.mask(rec.body.Bytes())})
	if err != nil {
		return err
	}
	return d.cfg.Idempotency.Finish(ctx, org, key, d.cfg.Sealer.Seal(answerPlace(org, key), plain))
}

func answerPlace(org, key string) string { return "idempotency:" + org + ":" + key }

func (d *Door) replay(w http.ResponseWriter, r *http.Request, org, key string, stored []byte) {
	var a storedAnswer
	plain, err := d.cfg.Sealer.Open(answerPlace(org, key), stored)
	if err == nil {
		err = json.Unmarshal(plain, &a)
	}
	if err != nil {
		d.Refuse(w, r, fmt.Errorf("open a stored answer: %w", err))
		return
	}
	h := w.Header()
	h.Set("Idempotent-Replayed", "true")
	if a.Type != "" {
		h.Set("Content-Type", a.Type)
	}
	if a.Location != "" {
		h.Set("Location", a.Location)
	}
	w.WriteHeader(a.Status)
	_, _ = w.Write(a.Body)
}

// recorder holds an answer back until it is stored. Headers go through.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
