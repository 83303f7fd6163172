package discovery

import "strings"

// Challenge is the Bearer challenge of a WWW-Authenticate header.
type Challenge struct {
	Bearer           bool // there was one
	ResourceMetadata string
	Scope            string
	Error            string
	Description      string
}

// ParseChallenge reads a WWW-Authenticate header, several joined by commas
// included. What cannot be read is passed over: a server that writes its
// header badly is found out by what is missing.
func ParseChallenge(header string) Challenge {
	var c Challenge
	p := scanner{header}
	bearer := false
	for p.skip(" \t,"); p.rest != ""; p.skip(" \t,") {
		word := p.token()
		if word == "" {
			p.rest = p.rest[1:]
			continue
		}
		p.skip(" \t")
		if !strings.HasPrefix(p.rest, "=") {
			bearer = strings.EqualFold(word, "Bearer")
			c.Bearer = c.Bearer || bearer
			continue
		}
		p.rest = p.rest[1:]
		p.skip(" \t")
		if value := p.value(); bearer {
			c.set(strings.ToLower(word), value)
		}
	}
	return c
}

func (c *Challenge) set(name, value string) {
	for known, at := range map[string]*string{
		"resource_metadata": &c.ResourceMetadata, "scope": &c.Scope, "error": &c.Error, "error_description": &c.Description,
	} {
		if name == known && *at == "" {
			*at = value
		}
	}
}

type scanner struct{ rest string }

func (s *scanner) skip(chars string) { s.rest = strings.TrimLeft(s.rest, chars) }

func (s *scanner) token() string {
	end := strings.IndexFunc(s.rest, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) })
	if end < 0 {
		end = len(s.rest)
	}
	t := s.rest[:end]
	s.rest = s.rest[end:]
	return t
}

// value reads a token or a quoted string. URLs without quotes are common and
// wrong; they are read up to the next comma or space.
func (s *scanner) value() string {
	if !strings.HasPrefix(s.rest, `"`) {
		end := strings.IndexAny(s.rest, " \t,")
		if end < 0 {
			end = len(s.rest)
		}
		v := s.rest[:end]
		s.rest = s.rest[end:]
		return v
	}
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch ch := s.rest[i]; {
		case ch == '\\' && i+1 < len(s.rest):
			i++
			b.WriteByte(s.rest[i])
		case ch == '"':
			s.rest = s.rest[i+1:]
			return b.String()
		default:
			b.WriteByte(ch)
		}
	}
	s.rest = ""
	return "" // it never ends
}
