// Package fault is Headgate's one error model.
//
// A fault is an error that may be shown: it has a closed Kind (which fixes the
// HTTP status), a stable Code owned by the domain that raises it, a Message
// that says what happened and what to do next, and Details for programs. Any
// other error is internal: doors answer it with INTERNAL_SERVER_ERROR and the
// request id, and its text goes to the log only.
//
// Domains declare their faults as package variables in errors.go and return
// them, refined with With, Saying, Because or After, all of which copy. Doors
// translate the code into their own words; nobody compares texts.
package fault
