package identity

import (
	_ "embed"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// common.txt holds the words that head the lists of leaked passwords. Each
// stands for all its usual disguises: capitals, digits for letters, numbers
// and signs at either end.
//
//go:embed common.txt
var commonText string

var commonWords = sync.OnceValue(func() map[string]bool {
	words := map[string]bool{}
	for w := range strings.FieldsSeq(commonText) {
		words[w] = true
		words[plain.Replace(w)] = true
	}
	return words
})

// plain undoes the digits and signs that people write for letters.
var plain = strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "8", "b", "@", "a", "$", "s", "!", "i", "|", "l", "+", "t", "l", "i")

// rows are what fingers run along.
var rows = []string{
	"1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn",
	"abcdefghijklmnopqrstuvwxyz", "1qaz2wsx3edc4rfv5tgb6yhn7ujm", "qazwsxedcrfvtgbyhnujm", "1q2w3e4r5t6y7u8i9o0p", "q1w2e3r4t5y6u7i8o9p0", "147258369", "159357",
}

// checkPassword returns ErrWeakPassword for a password that guessers try
// early: a common word in disguise, a run, a repetition, few digits only, or
// one that holds its owner's own words.
func checkPassword(password string, own ...string) error {
	if len(password) < minPassword || len(password) > maxPassword {
		return ErrWeakPassword.Saying("A password has 8 to 1024 bytes.")
	}
	if !utf8.ValidString(password) {
		return ErrWeakPassword.Saying("A password must be text in UTF-8.")
	}
	low := strings.ToLower(norm.NFC.String(password))
	for _, o := range own {
		if o = strings.ToLower(o); utf8.RuneCountInString(o) >= 4 && strings.Contains(low, o) {
			return ErrWeakPassword
		}
	}
	if repeats(low) || runs(low) || isCommon(low) || onlyDigits(low) && len(low) < 12 {
		return ErrWeakPassword
	}
	return nil
}

// isCommon compares what remains without numbers and signs at the ends, and
// without disguise, with the list.
func isCommon(low string) bool {
	words := commonWords()
	notLetter := func(r rune) bool { return !unicode.IsLetter(r) }
	for _, form := range []string{low, strings.TrimFunc(low, notLetter), strings.TrimRightFunc(low, notLetter)} {
		shown := plain.Replace(form)
		for _, f := range []string{form, shown, strings.TrimRightFunc(shown, notLetter), strings.TrimFunc(shown, notLetter)} {
			if words[f] {
				return true
			}
		}
	}
	// Digits that are letters stay at the end: passw0rd2024 is passwordzoz4.
	for cut := len(low); cut >= 4; cut-- {
		if tail := low[cut:]; strings.ContainsFunc(tail, unicode.IsLetter) {
			break
		}
		if words[low[:cut]] || words[plain.Replace(low[:cut])] {
			return true
		}
	}
	return false
}

// repeats reports whether the text is one short piece over and over.
func repeats(s string) bool {
	for n := 1; n <= len(s)/2 && n <= 6; n++ {
		if strings.Repeat(s[:n], len(s)/n+1)[:len(s)] == s {
			return true
		}
	}
	return false
}

// runs reports whether most of the text goes along rows of the keyboard or
// the alphabet, in either direction.
func runs(s string) bool {
	left := len(s)
	for i := 0; i < len(s); {
		n := longestRun(s[i:])
		if n >= 4 {
			left -= n
		}
		i += max(n, 1)
	}
	return left <= len(s)/4
}

func longestRun(s string) int {
	best := 0
	for _, row := range rows {
		for n := min(len(s), len(row)); n > max(best, 3); n-- {
			if strings.Contains(row, s[:n]) || strings.Contains(reversed(row), s[:n]) {
				best = n
				break
			}
		}
	}
	return best
}

func reversed(s string) string {
	b := []byte(s)
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
	return string(b)
}

func onlyDigits(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsDigit(r) })
}
