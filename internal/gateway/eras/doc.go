// Package eras lets clients and servers of different eras of MCP speak to each
// other: those with sessions and a handshake (2024-11-05 … 2025-11-25) and
// those without (2026-07-28).
//
// Translator stands in front of a Hub. Where both sides speak one era it costs
// nothing and touches no byte. Otherwise it rewrites what the two eras say
// differently, on raw JSON: what no rule names survives byte for byte.
//
// Promises: a modern client meets what a legacy server asks as input_required,
// with a sealed requestState that serves its principal, its request and one
// retry, and until then the server's call waits here; a legacy client meets
// what a modern server asks as requests of the server, and its answers go into
// the retry; neither era's peculiar errors, keys and kinds of results reach the
// other; everything that waits is bounded in number and time.
//
// It leaves to others: sessions and streams of clients (gateway), sessions and
// streams of servers (upstream), money (call).
package eras
