// Command headgate is the whole product in one binary: headgate serve runs the
// server, the other commands are its clients.
package main
