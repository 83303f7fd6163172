package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"golang.org/x/term"
)

// print shows a value: as JSON when asked for, else by the function.
func (x *env) print(v any, show func()) error {
	if !x.options.JSON {
		show()
		return nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := x.out.Write(b.Bytes())
	return err
}

// say prints a line.
func (x *env) say(format string, args ...any) {
	_, _ = fmt.Fprintln(x.out, plain(fmt.Sprintf(format, args...)))
}

// hint prints a line that is no result, and not wanted with --json.
func (x *env) hint(format string, args ...any) {
	if !x.options.JSON {
		_, _ = fmt.Fprintln(x.err, plain(fmt.Sprintf(format, args...)))
	}
}

// table prints rows in aligned columns below their titles.
func (x *env) table(titles []string, rows [][]string) {
	w := tabwriter.NewWriter(x.out, 0, 0, 2, ' ', 0)
	line := func(cells []string) {
		for i, c := range cells {
			cells[i] = oneLine(c)
		}
		_, _ = fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	line(titles)
	for _, r := range rows {
		line(r)
	}
	_ = w.Flush()
}

// pairs prints names and values, one a line; empty values are left out.
func (x *env) pairs(list ...[2]string) {
	w := tabwriter.NewWriter(x.out, 0, 0, 2, ' ', 0)
	for _, p := range list {
		if p[1] != "" {
			_, _ = fmt.Fprintf(w, "%s\t%s\n", p[0], oneLine(p[1]))
		}
	}
	_ = w.Flush()
}

// plain takes out what would drive a terminal: names and texts come from
// servers that strangers run.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) && !unicode.Is(unicode.Bidi_Control, r) {
			return r
		}
		return '�'
	}, s)
}

// oneLine makes a text fit a cell.
func oneLine(s string) string { return plain(strings.Join(strings.Fields(s), " ")) }

// short cuts a text to n characters.
func short(s string, n int) string {
	s = oneLine(s)
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// moment is a time as tables show it: in the user's zone, to the second.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

func momentOr(t *time.Time, none string) string {
	if t == nil || t.IsZero() {
		return none
	}
	return moment(*t)
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// terminal reports whether a person looks at the stream.
func terminal(s any) bool {
	f, ok := s.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// input reads all of stdin, bounded.
func (x *env) input(most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(x.in, most+1))
	if err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	if int64(len(text)) > most {
		return nil, invalid("the input is larger than %d bytes", most)
	}
	return text, nil
}
