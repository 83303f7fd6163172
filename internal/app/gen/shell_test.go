package main_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// example is one curl command of a reference page.
type example struct {
	operation string
	text      string
}

var heading = regexp.MustCompile(`(?m)^### (\w+)\n`)

// examples reads a page.
func examples(t *testing.T, page string) (list []example) {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	parts := heading.Split(string(text), -1)[1:]
	for i, name := range heading.FindAllStringSubmatch(string(text), -1) {
		_, code, ok := strings.Cut(parts[i], "```sh\n")
		code, _, ended := strings.Cut(code, "\n```")
		if !ok || !ended {
			t.Fatalf("%s has no example", name[1])
		}
		list = append(list, example{name[1], code})
	}
	return list
}

// request turns the command into what curl would send. It knows as much of a
// shell as the examples use, and fails at anything else.
func (e example) request(variables map[string]string) (*http.Request, error) {
	words, err := split(e.text, variables)
	if err != nil || len(words) == 0 || words[0] != "curl" {
		return nil, fmt.Errorf("no curl command: %w", err)
	}
	method, target, body, header := "GET", "", "", http.Header{}
	for i := 1; i < len(words); i++ {
		switch w := words[i]; {
		case w == "-sS" || w == "-N":
		case w == "-X" || w == "-H" || w == "-d":
			if i++; i == len(words) {
				return nil, fmt.Errorf("%s has no value", w)
			}
			switch w {
			case "-X":
				method = words[i]
			case "-d":
				body = words[i]
			default:
				name, value, _ := strings.Cut(words[i], ": ")
				header.Set(name, value)
			}
		case strings.HasPrefix(w, "http://") && target == "":
			target = w
		default:
			return nil, fmt.Errorf("what is %q?", w)
		}
	}
	r, err := http.NewRequest(method, target, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header = header
	return r, nil
}

// split cuts a command line into words as sh does.
func split(text string, variables map[string]string) (words []string, err error) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	word, open := "", false
	for len(text) > 0 {
		c := text[0]
		text = text[1:]
		switch c {
		case ' ':
			if open {
				words, word, open = append(words, word), "", false
			}
			continue
		case '\'':
			inner, rest, ok := strings.Cut(text, "'")
			if !ok {
				return nil, fmt.Errorf("a quote that does not end")
			}
			word, text = word+inner, rest
		case '"':
			inner, rest, ok := strings.Cut(text, `"`)
			if !ok {
				return nil, fmt.Errorf("a quote that does not end")
			}
			text = rest
			for _, name := range variable.FindAllString(inner, -1) {
				if variables[name[1:]] == "" {
					return nil, fmt.Errorf("nothing is known of %s", name)
				}
			}
			word += variable.ReplaceAllStringFunc(inner, func(name string) string { return variables[name[1:]] })
		case '\\':
			word, text = word+text[:1], text[1:]
		case '$', '`', '|', ';', '&', '<', '>', '(', '*':
			return nil, fmt.Errorf("a bare %q", c)
		default:
			word += string(c)
		}
		open = true
	}
	if open {
		words = append(words, word)
	}
	return words, nil
}

var variable = regexp.MustCompile(`\$[A-Z_]+`)
