package seal_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"testing"

	"headgate/internal/seal"
)

func TestHashIsHMAC(t *testing.T) {
	keys, text, err := seal.Generate()
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Pepper []struct{ Key string } }
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	pepper, err := base64.StdEncoding.DecodeString(file.Pepper[0].Key)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for n := range 400 {
				secret := strings.Repeat("k", n)
				m := hmac.New(sha256.New, pepper)
				m.Write([]byte(secret))
				if sum, _ := keys.Hash(secret); !hmac.Equal(sum[:], m.Sum(nil)) {
					t.Errorf("%d characters: not the HMAC-SHA-256", n)
				}
			}
		})
	}
	wg.Wait()
}
