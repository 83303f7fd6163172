// Package zoo is an MCP server that misbehaves in every way we know of: in the
// answer to a call by the name of the tool (Cages), in a list by its path
// (Lists). Both are tables; what holds a caller of Headgate to its bounds, and
// the ledger to the truth, walks through them.
//
// Kinds lists what servers are known to do. Every cage and list says which of
// them it shows, and the package's own test fails when one is shown nowhere.
package zoo
