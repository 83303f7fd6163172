package sandbox

import (
	"bufio"
	"errors"
	"io"
)

// MaxLine bounds a line a child may write.
const MaxLine = 16 << 20

// readAhead is how much of a child's output is taken at once: many short lines.
const readAhead = 16 << 10

// readLine returns the next line without its end, in memory of its own. What
// is held never exceeds max; a longer line is ErrTooLong. A last line without
// an end is the end: nobody can tell whether it is whole.
func readLine(r *bufio.Reader, max int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > max+1 {
			return nil, ErrTooLong
		}
		if err == nil && line == nil {
			return append(make([]byte, 0, len(part)-1), part[:len(part)-1]...), nil
		}
		line = append(line, part...)
		switch {
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, bufio.ErrBufferFull):
		default:
			return nil, io.EOF
		}
	}
}
