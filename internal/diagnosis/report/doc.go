// Package report is what a diagnosis leaves behind: the report, the comparison
// of two (Diff), and how both are written for people and for CI.
//
// The JSON of Report is stable: it is what doors answer, what the store keeps
// and what the CLI prints. Fields are added, never changed. Eight checks make
// the status; further ones make findings, each of which says what is wrong,
// why it matters and how to mend it.
//
// It promises that a report holds no secret it was told of (Scrub), is valid
// UTF-8, is bounded (200 findings of ten subjects), and steers no terminal.
// It knows neither the network nor the store.
package report
