package identity_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"headgate/internal/fault"
	"headgate/internal/identity"
)

// chainLink is one refresh token of the model's chain.
type chainLink struct {
	token string
	used  time.Time
	next  int // index of the successor, 0 while unused
}

// Whatever is tried in whatever order and at whatever times, a session's
// refresh tokens form one chain: each has one successor, a repeat within ten
// seconds gets exactly that one, a later one ends the session for good.
func TestRefreshProperty(t *testing.T) {
	each(t, func(w *world) {
		w.register("ada@example.com")
		rapid.Check(w.T, func(r *rapid.T) {
			start, err := w.svc.Login(w.Context(), identity.Credentials{Pool: platform, Email: "ada@example.com", Password: pass}, here)
			if err != nil {
				r.Fatal(err)
			}
			chain, live := []chainLink{{token: start.Refresh}}, true
			for range rapid.IntRange(1, 8).Draw(r, "steps") {
				w.pass(time.Duration(rapid.SampledFrom([]int{0, 1, 9, 10, 11, 60}).Draw(r, "wait")) * time.Second)
				i := rapid.IntRange(0, len(chain)-1).Draw(r, "token")
				at := &chain[i]
				got, err := w.svc.Refresh(w.Context(), platform, at.token)
				now := w.clock()
				switch {
				case !live:
					want(r, err, "identity.token_invalid")
				case at.used.IsZero():
					want(r, err, "")
					at.used, at.next = now, len(chain)
					chain = append(chain, chainLink{token: got.Refresh})
				case now.Sub(at.used) <= 10*time.Second:
					want(r, err, "")
					if got.Refresh != chain[at.next].token {
						r.Fatal("another successor")
					}
				default:
					want(r, err, "identity.token_invalid")
					live = false
				}
				if got != nil {
					start = got
				}
				_, err = w.svc.Authenticate(w.Context(), start.Access)
				if live {
					want(r, err, "")
				} else {
					want(r, err, "identity.token_invalid")
				}
			}
		})
	})
}

func want(r *rapid.T, err error, code string) {
	r.Helper()
	if got := fault.CodeOf(err); got != code {
		r.Fatalf("fault code = %q, want %q (%v)", got, code, err)
	}
}
