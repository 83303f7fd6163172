package checkup

import (
	"fmt"

	"headgate/internal/diagnosis/report"
)

// remedies say how to mend what kept a connection from being made, by the word
// for the problem.
var remedies = map[string]string{
	codeUnreachable: "Look whether the server runs at this URL and speaks MCP over HTTP (curl -i URL); its own log says more.",
	codeTimeout:     "Look whether the server is overloaded or waits for something itself; answer initialize and lists from memory.",
	codeForbidden:   "Correct the configured header or token; look at its expiry and its audience.",
	codeInvalid:     "Fill in what is missing in the server's configuration.",
	codeInternal:    "Look at Headgate's log with the id of this request.",
}

// trouble is a finding about why there was no connection.
func trouble(r *report.Report, p *report.Problem) {
	fix, ok := remedies[p.Code]
	if !ok || r.Worst("tls") == report.Error {
		return // a sign-in has findings of its own, and so have certificates
	}
	r.Find(report.Finding{ID: "connection.failed", Check: "connection", Severity: report.SevError, What: p.Message,
		Why: "Without a connection nothing of the server can be used.", Fix: fix})
}

// brokenList is a finding about a list that the server declares and that cannot
// be had.
func brokenList(r *report.Report, l list, p *report.Problem) {
	fix := "Look into the server's log at " + l.method + "."
	if p.Code == codeFeature {
		fix = "Offer " + l.method + ", or leave " + l.capability + " out of the capabilities."
	}
	r.Find(report.Finding{ID: l.member + ".failed", Check: l.member, Severity: report.SevError, What: fmt.Sprintf("The list of %s cannot be had. %s", l.noun, p.Message),
		Why: "Clients show none of them; some drop the whole server.", Fix: fix})
}
