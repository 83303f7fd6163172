// Package testkit is what every test of Headgate stands on: four verbs, both
// database engines, and the real MCP servers and clients we test against.
//
// It owns
//   - the verbs Must, Equal, Fault and Golden;
//   - EachEngine, which runs a test on SQLite and on PostgreSQL, each time on a
//     fresh, migrated database;
//   - Node and NPM, which install pinned npm packages once for all test
//     processes and work offline afterwards;
//   - Everything, the reference MCP server nobody here wrote.
//
// It promises that nothing it starts outlives the tests by more than a minute,
// that nothing listens beyond loopback, and that parallel test binaries share
// what is expensive. What is missing is skipped with one line that says what to
// install; with CI=true the same line is a failure.
//
// PostgreSQL's cluster lives in testkit/postgres, the raw MCP upstream in
// testkit/rawmcp: both also serve the benchmark, which is no test.
package testkit
