package id_test

import (
	"testing"

	"github.com/google/uuid"

	"headgate/internal/id"
)

func TestID(t *testing.T) {
	t.Run("round trips in both forms and agrees with a uuid library", func(t *testing.T) {
		prev := ""
		for range 10000 {
			s := id.New("srv")
			if s <= prev {
				t.Fatalf("%s is not after %s", s, prev)
			}
			prev = s
			u, err := uuid.Parse(id.UUID(s))
			if err != nil || u.Version() != 7 || u.Variant() != uuid.RFC4122 {
				t.Fatalf("%s is no UUIDv7: %v", s, err)
			}
			for _, form := range []string{s, u.String()} {
				if got, ok := id.Parse("srv", form); !ok || got != s {
					t.Fatalf("Parse(%q) = %q, %v", form, got, ok)
				}
			}
		}
	})
	t.Run("refuses other nouns and junk", func(t *testing.T) {
		s := id.New("srv")
		for _, bad := range []string{"", "srv_", "ws" + s[3:], s + "0", s[:len(s)-1], s[:len(s)-1] + "u", "srv_8zzzzzzzzzzzzzzzzzzzzzzzzz", "../" + s} {
			if got, ok := id.Parse("srv", bad); ok {
				t.Fatalf("Parse(%q) = %q", bad, got)
			}
		}
	})
}
