package sandbox

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"time"
)

const (
	logBytes  = 64 << 10 // what is kept of a child's standard error
	logLine   = 4 << 10  // longer lines are cut into pieces
	logRate   = 1 << 20  // bytes per second read; beyond it the child waits
	logWindow = 100 * time.Millisecond
)

// LogLine is one line a child wrote to standard error.
type LogLine struct {
	Time time.Time
	Text string // valid UTF-8, not escaped: it is a stranger's text
}

// ring keeps the last lines within logBytes.
type ring struct {
	mu    sync.Mutex
	lines []LogLine
	size  int
	now   func() time.Time
}

func (r *ring) add(line []byte) {
	text := strings.ToValidUTF8(string(bytes.TrimSuffix(line, []byte("\r"))), "\uFFFD")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, LogLine{r.now(), text})
	r.size += lineCost(text)
	drop := 0
	for ; r.size > logBytes; drop++ {
		r.size -= lineCost(r.lines[drop].Text)
	}
	if drop > 0 {
		clear(r.lines[:drop]) // let go of the texts; append moves the rest in time
		r.lines = r.lines[drop:]
	}
}

// lineCost counts an empty line as something, so their number is bounded too.
func lineCost(text string) int { return len(text) + 32 }

func (r *ring) list() []LogLine {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]LogLine(nil), r.lines...)
}

// drain reads until the end, at no more than logRate: a child that floods is
// slowed by its own full pipe and costs us little.
func (r *ring) drain(from io.Reader) {
	buf := make([]byte, logLine)
	held := 0
	window, used := time.Now(), 0
	for {
		n, err := from.Read(buf[held:])
		held += n
		used += n
		rest := buf[:held]
		for {
			line, after, found := bytes.Cut(rest, []byte("\n"))
			if !found {
				break
			}
			r.add(line)
			rest = after
		}
		held = copy(buf, rest)
		if held == len(buf) || (err != nil && held > 0) {
			r.add(buf[:held])
			held = 0
		}
		if err != nil {
			return
		}
		if since := time.Since(window); since >= logWindow {
			window, used = time.Now(), 0
		} else if used > logRate/int(time.Second/logWindow) {
			time.Sleep(logWindow - since)
		}
	}
}
