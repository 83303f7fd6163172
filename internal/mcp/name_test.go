package mcp_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"headgate/internal/mcp"
)

func TestMergedName(t *testing.T) {
	t.Run("is plain when it can be", func(t *testing.T) {
		for _, row := range [][3]string{
			{"github", "search_repositories", "github_search_repositories"},
			{"my-db", "repository", "my-db_repository"},
			{"a", "x.y-Z_9", "a_x.y-Z_9"},
		} {
			if got := mcp.MergedName(row[0], row[1]); got != row[2] {
				t.Errorf("got %s, want %s", got, row[2])
			}
		}
	})
	t.Run("stays the same from release to release", func(t *testing.T) {
		if got := mcp.MergedName("files", "größe/lesen"); got != "files_gr__e_lesen_7pbunxohb7" {
			t.Errorf("got %s", got)
		}
	})
	t.Run("is short and clean whatever it is made of", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			got := mcp.MergedName(rapid.String().Draw(t, "server"), rapid.String().Draw(t, "name"))
			if len(got) == 0 || len(got) > mcp.MaxName || !utf8.ValidString(got) ||
				strings.Trim(got, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") != "" {
				t.Fatalf("got %q", got)
			}
		})
	})
	t.Run("is never the same for two different pairs", func(t *testing.T) {
		part := rapid.OneOf(rapid.StringMatching(`[ab_é/]{0,4}`), rapid.StringMatching(`a{10,70}`), rapid.StringMatching(`a_[2-7][a-z]{9}`))
		rapid.Check(t, func(t *rapid.T) {
			s1, n1, s2, n2 := part.Draw(t, "s1"), part.Draw(t, "n1"), part.Draw(t, "s2"), part.Draw(t, "n2")
			if (s1 != s2 || n1 != n2) && mcp.MergedName(s1, n1) == mcp.MergedName(s2, n2) {
				t.Fatalf("%q %q and %q %q become %q", s1, n1, s2, n2, mcp.MergedName(s1, n1))
			}
		})
	})
	t.Run("says what it was made of, unless it had to be changed", func(t *testing.T) {
		part := rapid.OneOf(rapid.StringMatching(`[ab_é/]{0,4}`), rapid.StringMatching(`a{10,70}`), rapid.StringMatching(`a?_?[2-7][a-z]{9}`))
		rapid.Check(t, func(t *rapid.T) {
			server, name := part.Draw(t, "server"), part.Draw(t, "name")
			merged := mcp.MergedName(server, name)
			s, n, ok := mcp.SplitMerged(merged)
			if ok != (merged == server+"_"+name) || ok && (s != server || n != name) {
				t.Fatalf("%q, of %q and %q, is taken for %q and %q: %v", merged, server, name, s, n, ok)
			}
		})
	})
	t.Run("is never the same when an underscore moves", func(t *testing.T) {
		if mcp.MergedName("a_b", "c") == mcp.MergedName("a", "b_c") {
			t.Fatal("the same")
		}
	})
	t.Run("cannot be forged by naming a tool as another's changed name", func(t *testing.T) {
		changed := mcp.MergedName("a", "é")
		if mcp.MergedName("a", strings.TrimPrefix(changed, "a_")) == changed {
			t.Fatal("forged")
		}
	})
}
