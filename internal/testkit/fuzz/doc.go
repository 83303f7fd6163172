// Command fuzz runs every fuzz target of the module in turn, each for a number
// of inputs: go test takes one target at a time. A number and not a time,
// because the fuzzing coordinator has a deadline to race otherwise
// (go.dev/issue/75804).
package main
