package eras

import (
	"headgate/internal/mcp"
	"headgate/internal/upstream"
)

// Down returns a modern message as a legacy server gets it.
func Down(body []byte) ([]byte, error) {
	d := &descent{r: &upstream.Request{Body: body}, f: &upstream.Facts{Revision: mcp.LatestLegacy}}
	if err := mcp.Scan(body, &d.e, mcp.Limits{}); err != nil {
		return nil, err
	}
	err := d.translate()
	return d.sent.Body, err
}

// Up returns a legacy message as a modern server gets it.
func Up(body []byte, c upstream.Client) ([]byte, error) {
	u := &ascent{r: &upstream.Request{Body: body, Client: c}, f: &upstream.Facts{Era: mcp.Modern, Revision: mcp.LatestModern, Capabilities: []byte(`{"logging":{}}`)}}
	err := u.translate()
	return u.sent.Body, err
}

// Answers returns a reply as each era's client gets it.
func Answers(body []byte, method string, id []byte) (modern, legacy []byte, err error) {
	var e mcp.Envelope
	if err := mcp.ScanReply(body, &e, mcp.Limits{}); err != nil {
		return nil, nil, err
	}
	m, err := modernized(upstream.NewAnswer(body, e, 200, nil), method, id, &upstream.Facts{ServerInfo: []byte(`{"name":"s"}`)})
	if err != nil {
		return nil, nil, err
	}
	l, err := legacied(upstream.NewAnswer(body, e, 200, nil), method, id)
	if err != nil {
		return m.Body, nil, nil // a kind of result that legacy clients do not have
	}
	return m.Body, l.Body, nil
}
