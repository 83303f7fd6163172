package mcp

import "bytes"

// Scan reads a message from a client (or a server's own request) into e. The
// whole document is held to the strictest reading: see the package comment.
// It returns ErrUnreadable, ErrNotMessage, ErrBadParams or, before looking
// inside, ErrBatch; RPCCode gives the code to answer with. After an error only
// e.ID may be used: it is set when the message is readable and its id was seen.
func Scan(b []byte, e *Envelope, lim Limits) error {
	return scan(b, e, scanner{b: b, e: e, lim: lim.or(DefaultDepth), strict: true})
}

// ScanReply reads a message from a server: an answer, a notification or a
// request. It is as strict as Scan, except that keys inside results and
// arguments are not compared: they are the server's own words to the client.
func ScanReply(b []byte, e *Envelope, lim Limits) error {
	return scan(b, e, scanner{b: b, e: e, lim: lim.or(DefaultReplyDepth)})
}

func scan(b []byte, e *Envelope, s scanner) error {
	e.reset()
	s.keys = &e.keys
	ok := s.message()
	e.keys.clear()
	if ok {
		return nil
	}
	id := e.ID
	e.reset()
	if s.flaw > firstShapeFlaw {
		e.ID = id
	}
	return s.flaw.fault(s.at)
}

// Check holds a JSON document to the rules of Scan without asking for JSON-RPC.
func Check(b []byte, lim Limits) error {
	var keys keySet
	s := scanner{b: b, keys: &keys, lim: lim.or(DefaultReplyDepth), strict: true}
	if len(b) > maxBytes {
		return flawSize.fault(0)
	}
	i := s.value(s.space(0), 0)
	if i >= 0 && s.end(i) {
		return nil
	}
	return s.flaw.fault(s.at)
}

// SplitBatch returns the spans of the messages in a batch, each of which is to
// be scanned on its own. It reads JSON only as far as splitting needs.
func SplitBatch(b []byte, lim Limits) ([]Span, error) {
	s := scanner{b: b, lim: lim.or(DefaultDepth)}
	s.lim.Depth++ // the batch itself
	i := s.space(0)
	if len(b) > maxBytes || i >= len(b) || b[i] != '[' {
		return nil, ErrBadBatch
	}
	var spans []Span
	for more := true; more; {
		start := s.space(i + 1)
		if start < len(b) && b[start] == ']' && len(spans) == 0 {
			return nil, ErrBadBatch
		}
		end := s.value(start, 1)
		if end < 0 {
			return nil, s.flaw.fault(s.at)
		}
		if len(spans) == MaxBatch {
			return nil, ErrBadBatch
		}
		spans = append(spans, Span{start, end})
		if i, more = s.comma(end, ']'); i < 0 {
			return nil, s.flaw.fault(s.at)
		}
	}
	if !s.end(i) {
		return nil, s.flaw.fault(s.at)
	}
	return spans, nil
}

// message reads one JSON-RPC message and nothing behind it.
func (s *scanner) message() bool {
	if len(s.b) > maxBytes {
		s.fail(flawSize, 0)
		return false
	}
	i := s.space(0)
	if i >= len(s.b) {
		s.fail(flawEnd, i)
		return false
	}
	switch s.b[i] {
	case '{':
	case '[':
		s.fail(flawBatch, i)
		return false
	default:
		if end := s.value(i, 0); end >= 0 && s.end(end) {
			s.fail(flawNotObject, i)
		}
		return false
	}
	i = s.object(i, inEnvelope, 0)
	return i >= 0 && s.end(i) && s.classify()
}

// classify settles the kind once every member is known.
func (s *scanner) classify() bool {
	e, end := s.e, len(s.b)
	reply := !e.Result.Empty() || !e.Error.Empty()
	switch {
	case !s.versioned:
		s.fail(flawVersion, end)
	case e.Method != "" && reply, !e.Result.Empty() && !e.Error.Empty(), reply && !e.Params.Empty():
		s.fail(flawMixed, end)
	case e.Method == "" && !reply:
		s.fail(flawNoKind, end)
	case s.nullID && e.Error.Empty():
		s.fail(flawID, end)
	case e.Method != "" && e.ID.Empty():
		e.Kind = Notification
	case e.Method != "":
		e.Kind = Request
	case !e.Error.Empty():
		e.Kind = ErrorResponse
		if e.ErrorMessage.Empty() || !s.coded {
			s.fail(flawError, e.Error.Start)
		}
	case e.ID.Empty():
		s.fail(flawNoID, end)
	default:
		e.Kind = Response
	}
	return s.flaw == sound
}

// SameID reports whether two raw ids are the same id, however their strings are
// escaped: a server may answer "a\/b" to "a/b".
func SameID(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return len(a) > 0
	}
	if len(a) == 0 || len(b) == 0 || a[0] != '"' || b[0] != '"' {
		return false
	}
	x, errX := String(a, Span{0, len(a)})
	y, errY := String(b, Span{0, len(b)})
	return errX == nil && errY == nil && x == y
}
