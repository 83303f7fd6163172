package diagnosis

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"

	"headgate/internal/catalog"
	"headgate/internal/mcp"
)

// minSecret is the length below which a text is no secret but a word.
const minSecret = 8

// secretsOf returns what must not be in a report: the values of the headers
// that were sent, and what follows their scheme; and the values of the URL's
// query, in which people put keys.
func secretsOf(raw string, fields []catalog.Header) []string {
	var list []string
	if u, err := url.Parse(raw); err == nil {
		for _, values := range u.Query() {
			list = append(list, values...)
		}
	}
	for _, f := range fields {
		v := f.Value.Reveal()
		list = append(list, v)
		if _, rest, ok := strings.Cut(v, " "); ok {
			list = append(list, rest)
		}
	}
	return list
}

// scrub takes secrets out that a server has repeated in its answers.
func (r *Report) scrub(secrets []string) {
	text, err := r.JSON()
	if err != nil {
		return // what cannot be encoded is found out when it is saved
	}
	clean := text
	for _, s := range secrets {
		if len(s) >= minSecret {
			clean = bytes.ReplaceAll(clean, quoted(s), []byte("[redacted]"))
		}
	}
	if bytes.Equal(clean, text) {
		return
	}
	var again Report
	if json.Unmarshal(clean, &again) == nil {
		again.Target.Organization = r.Target.Organization
		*r = again
	}
}

// quoted is a text as it stands between the quotes of JSON.
func quoted(s string) []byte {
	b := mcp.AppendString(nil, s)
	return b[1 : len(b)-1]
}

// JSON is the report's stable form, in valid UTF-8.
func (r *Report) JSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // schemas are full of < and >
	err := enc.Encode(r)
	return bytes.ToValidUTF8(bytes.TrimSpace(b.Bytes()), []byte("\uFFFD")), err
}

// ParseReport reads that form.
func ParseReport(text []byte) (*Report, error) {
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	return &r, nil
}
