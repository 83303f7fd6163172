package zoo

// Elsewhere returns what other tests show.
func Elsewhere() map[Kind]string { return elsewhere }
