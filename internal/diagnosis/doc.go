// Package diagnosis finds out whether an MCP server is well, and says what to
// mend.
//
// It owns the history of reports, and schedules; the tables reports and
// diagnosis_schedules. A diagnosis is of a registered server, with the
// caller's credentials, or of any URL, without. Beside the doctor there are
// the short questions: Validate, CheckOAuth, List, Export.
//
// Its parts: checkup makes a diagnosis, report is what comes of it (and the
// drift between two), discovery finds authorization servers, grants keeps the
// tokens people bring.
//
// Promises: a run ends within its time, and at most Parallel run at once; a
// hundred reports of each server are kept, for ninety days; when a scheduled
// run finds something broken that was well before, the audit trail has an
// event. Examine needs no store, so that the command line can do without a
// server.
//
// It leaves to others: how calls reach a server (upstream), and who may use a
// server at all.
package diagnosis
