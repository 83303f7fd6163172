// Package stdio hosts the programs of stdio servers and speaks for them as a
// Streamable HTTP server does, so that the rest of Headgate needs to know of
// nothing else.
//
// A Host is upstream's Channel. For each server version, workspace and, where
// each user has credentials of their own, user it has one program: asleep until
// its first use, started through a bounded queue, probed for its era, stopped
// when idle, started again with growing pauses after crashes, and left alone
// after too many. Lists are answered from memory while it sleeps.
//
// A child has one channel that many callers share. Ids and progress tokens are
// rewritten, so an answer reaches only its caller and a late one nobody. What a
// child asks a client for goes to the call that it belongs to; a legacy child
// does not say which, so where several sessions have calls under way it is
// refused rather than shown to the wrong person. Log lines name no call either:
// those of a lone call are its own, others go to every session of this child,
// which all have the same credentials. Roots are not offered: they would be one
// client's and in force for all.
//
// Callers put messages into an outbox and wait for their answers alone, never for
// the child to read; what has come together is one write. The Hub's requests come
// without HTTP in between (upstream.Relay), its lists and handshakes over it.
//
// Nothing is sent twice: a call that was under way when its child ended fails,
// and one that the child had no whole line of goes to the next child. A child that
// does not read is ended, and so is one that reads and gives no sign of life.
//
// Which program runs, and how, is package launch's affair; walls are sandbox's.
package stdio
