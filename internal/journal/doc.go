// Package journal makes records durable with one write each: what the group
// writer promises on SQLite before the rows follow.
//
// It owns two files of fixed size that take turns. A frame is a checksum, a
// number, the journal's id and a payload; Append returns once the frame is on
// disk (fdatasync, no metadata: the files are allocated at Open). Frames are
// numbered without gaps. Whoever turns frames into rows stores the number of
// the last one in the same transaction and says so (Applied); a file is used
// again only when every frame in it has been applied.
//
// Promises: after a crash Replay hands out, in order, every frame that Append
// confirmed and Applied does not cover, then at most one that it did not
// confirm; a torn, stale or foreign frame ends the reading. After a failed
// write nothing more is taken until Heal: the failed frame's number is never
// used for another frame.
//
// It knows nothing of what it carries.
package journal
