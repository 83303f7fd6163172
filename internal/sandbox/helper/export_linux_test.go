//go:build linux && (amd64 || arm64)

package helper

// UsableUIDs picks uids for children out of a uid map.
func UsableUIDs(uidMap string) (from, count uint64) {
	r := usableUIDs(uidMap)
	return r.from, r.count
}
