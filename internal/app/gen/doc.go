// Command gen writes what follows from the code: the Go client (client/) and
// the reference pages (docs/reference/). With -check it writes nothing and
// fails when a file is not what it would write.
package main
