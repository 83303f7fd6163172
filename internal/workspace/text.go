package workspace

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// ValidSlug reports whether s is a slug: [a-z0-9][a-z0-9-]{0,31}.
func ValidSlug(s string) bool {
	if s == "" || len(s) > maxSlug || s[0] == '-' {
		return false
	}
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// SlugOf makes a slug of a name; a number at its end survives the cut. "" is
// made of a name without a letter or digit of ASCII.
func SlugOf(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			b.WriteRune(r)
		} else if s := b.String(); s != "" && s[len(s)-1] != '-' {
			b.WriteByte('-')
		}
	}
	slug := strings.Trim(b.String(), "-")
	if len(slug) > maxSlug {
		head, tail := slug[:maxSlug], ""
		if i := strings.LastIndexByte(slug, '-'); len(slug)-i <= 6 {
			tail = slug[i:]
		}
		slug = strings.TrimRight(head[:maxSlug-len(tail)], "-") + tail
	}
	return slug
}

func slugOf(name string) string {
	slug := SlugOf(name)
	if strings.Trim(slug, "0123456789-") == "" { // nothing of the name is left but the number that makes it unique
		slug = strings.TrimRight("workspace-"+slug, "-")
	}
	return slug
}

func validName(name string) bool {
	if !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName || strings.TrimSpace(name) == "" {
		return false
	}
	return strings.IndexFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) < 0
}

// checkText holds the longer texts to a length and to characters that can be
// shown.
func checkText(field, text string, limit int) error {
	bad := strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' })
	if len(text) > limit || !utf8.ValidString(text) || bad {
		return ErrText.Saying("The %s of a workspace has at most %d bytes of readable text.", field, limit).With("field", field)
	}
	return nil
}

// cut returns at most n characters of s.
func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}
