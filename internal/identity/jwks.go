package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	keysAge     = time.Hour        // after which an issuer's keys are fetched again
	keysPause   = 10 * time.Second // between two fetches, whatever tokens claim
	keysTimeout = 5 * time.Second
	maxKeys     = 100
	maxKeySet   = 1 << 20 // bytes
)

// keySet is an issuer's public keys, fetched when a token needs one that is
// not known, at most every ten seconds: key ids in forged tokens must not make
// us hammer the issuer.
type keySet struct {
	url       string
	algorithm string
	client    *http.Client
	now       func() time.Time

	mu      sync.Mutex
	keys    []jose.JSONWebKey
	fetched time.Time // with success
	tried   time.Time
}

// find returns the key of the id. Without an id the set must leave no choice.
func (k *keySet) find(ctx context.Context, kid string) (any, error) {
	k.mu.Lock() // also makes parallel callers wait for one fetch
	defer k.mu.Unlock()
	now := k.now()
	key := k.pick(kid)
	if (key == nil || now.Sub(k.fetched) > keysAge) && now.Sub(k.tried) >= keysPause {
		k.tried = now
		if err := k.fetch(ctx); err != nil {
			if key == nil {
				return nil, ErrIssuerDown.After(keysPause).Because(err)
			}
			return key, nil // a key that was good stays so while the issuer is away
		}
		k.fetched = now
		key = k.pick(kid)
	}
	if key == nil && k.fetched.IsZero() {
		return nil, ErrIssuerDown.After(keysPause)
	}
	if key == nil {
		return nil, ErrTokenInvalid
	}
	return key, nil
}

func (k *keySet) pick(kid string) any {
	var found any
	for _, key := range k.keys {
		if kid != "" && key.KeyID != kid {
			continue
		}
		if found != nil {
			return nil
		}
		found = key.Key
	}
	return found
}

func (k *keySet) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keysTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return err
	}
	resp, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the key set answers %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySet+1))
	if err != nil {
		return err
	}
	keys, err := k.parse(body)
	if err != nil {
		return err
	}
	k.keys = keys
	return nil
}

// parse keeps the public signing keys that fit the pinned algorithm. What it
// does not understand it skips: sets may hold kinds of keys that are new.
func (k *keySet) parse(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if len(body) > maxKeySet || json.Unmarshal(body, &set) != nil || len(set.Keys) > maxKeys {
		return nil, errors.New("the key set cannot be read or is too large")
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) != nil || !key.Valid() || !key.IsPublic() {
			continue
		}
		if key.Use != "" && key.Use != "sig" || key.Algorithm != "" && key.Algorithm != k.algorithm {
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("the key set holds no key for " + k.algorithm)
	}
	return keys, nil
}
