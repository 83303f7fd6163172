// Package flock locks files between processes. The kernel releases a lock when
// its process ends, however it ends, so a crashed test never blocks the next.
package flock
