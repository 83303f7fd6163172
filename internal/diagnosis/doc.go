// Package diagnosis finds out whether an MCP server is well, and says what to
// mend.
//
// It owns reports (what a diagnosis found), their comparison (Diff), and
// schedules; the tables reports and diagnosis_schedules. A diagnosis is of a
// registered server, with its credentials, or of any URL, without.
//
// Doctor runs a list of checks one after the other: eight whose outcomes make
// the status (probe to prompts), and further ones (dns to protocol) that make
// findings: what is wrong, why it matters, how to mend it. The JSON of Report
// is stable and is what doors, the store and the CLI show.
//
// Promises: a run ends within its time and keeps at most a few MiB; at most
// Parallel run at once. Every connection goes through netguard, and a failure
// to connect reads alike for every cause and takes its time in steps, so that
// it maps no private network. No credential and no session id is in a report.
// A tool is never called. A broken schedule tells the audit trail.
//
// It leaves to others: how calls reach a server (upstream), tokens people
// bring (grants), finding authorization servers (discovery).
package diagnosis
