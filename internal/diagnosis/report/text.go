package report

import (
	"bytes"
	"encoding/json"
	"net/url"

	"headgate/internal/mcp"
)

// minSecret is the length below which a text is no secret but a word.
const minSecret = 8

// Scrub takes secrets out that a server has repeated in its answers.
func (r *Report) Scrub(secrets []string) {
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

// Parse reads that form.
func Parse(text []byte) (*Report, error) {
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// PublicURL is a URL without its query, in which people put secrets.
func PublicURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	u.RawQuery, u.Fragment, u.User = "", "", nil
	return u.String()
}
