package mcp

import "strconv"

// level is a place in a message whose keys are known.
type level int8

const (
	inAny level = iota
	inEnvelope
	inParams
	inMeta
	inResult
	inResultMeta
	inError
)

// field is a member the envelope has a place for.
type field int8

const (
	lookAlike field = iota - 1 // differs from a known key only in form
	anyField
	fieldVersion
	fieldID
	fieldMethod
	fieldParams
	fieldResult
	fieldError
	fieldName
	fieldURI
	fieldArguments
	fieldCursor
	fieldRequestState
	fieldInputResponses
	fieldTaskID
	fieldRequestID
	fieldProgress
	fieldMeta
	fieldProtocolVersion
	fieldCapabilities
	fieldClientInfo
	fieldLogLevel
	fieldSubscriptionID
	fieldProgressToken
	fieldResultType
	fieldIsError
	fieldContent
	fieldStructured
	fieldResultMeta
	fieldServerInfo
	fieldCode
	fieldMessage
	fieldData
)

// level returns where the members of the field's object belong.
func (fd field) level() level {
	switch fd {
	case fieldParams:
		return inParams
	case fieldMeta:
		return inMeta
	case fieldResult:
		return inResult
	case fieldResultMeta:
		return inResultMeta
	case fieldError:
		return inError
	}
	return inAny
}

// field finds the place of a key. A key that other parsers could take for a
// known one is a lookAlike.
func (s *scanner) field(lv level, key Span) field {
	text := s.b[key.Start+1 : key.End-1]
	if s.marks&escaped != 0 {
		s.keys.a = appendUnquoted(s.keys.a[:0], text)
		text = s.keys.a
	}
	fd := anyField
	switch lv {
	case inEnvelope:
		fd = envelopeField(text)
	case inParams:
		fd = paramsField(text)
	case inMeta:
		fd = metaField(text)
	case inResult:
		return resultField(text)
	case inResultMeta:
		return resultMetaField(text)
	case inError:
		return errorField(text)
	}
	if fd == anyField && resembles(lv, text, s.marks&wide != 0) {
		return lookAlike
	}
	return fd
}

func envelopeField(key []byte) field {
	switch string(key) {
	case "jsonrpc":
		return fieldVersion
	case "id":
		return fieldID
	case "method":
		return fieldMethod
	case "params":
		return fieldParams
	case "result":
		return fieldResult
	case "error":
		return fieldError
	}
	return anyField
}

func paramsField(key []byte) field {
	switch string(key) {
	case "name":
		return fieldName
	case "uri":
		return fieldURI
	case "arguments":
		return fieldArguments
	case "_meta":
		return fieldMeta
	case "cursor":
		return fieldCursor
	case "requestState":
		return fieldRequestState
	case "inputResponses":
		return fieldInputResponses
	case "taskId":
		return fieldTaskID
	case "requestId":
		return fieldRequestID
	case "progressToken":
		return fieldProgress
	}
	return anyField
}

func metaField(key []byte) field {
	switch string(key) {
	case MetaProgressToken:
		return fieldProgressToken
	case MetaProtocolVersion:
		return fieldProtocolVersion
	case MetaClientCapabilities:
		return fieldCapabilities
	case MetaClientInfo:
		return fieldClientInfo
	case MetaLogLevel:
		return fieldLogLevel
	case MetaSubscriptionID:
		return fieldSubscriptionID
	}
	return anyField
}

func resultField(key []byte) field {
	switch string(key) {
	case "content":
		return fieldContent
	case "structuredContent":
		return fieldStructured
	case "isError":
		return fieldIsError
	case "resultType":
		return fieldResultType
	case "_meta":
		return fieldResultMeta
	}
	return anyField
}

func resultMetaField(key []byte) field {
	switch string(key) {
	case MetaServerInfo:
		return fieldServerInfo
	case MetaSubscriptionID:
		return fieldSubscriptionID
	}
	return anyField
}

func errorField(key []byte) field {
	switch string(key) {
	case "code":
		return fieldCode
	case "message":
		return fieldMessage
	case "data":
		return fieldData
	}
	return anyField
}

// note puts a value in its place and checks what the protocol fixes about it.
func (s *scanner) note(fd field, v Span) flaw {
	e, c := s.e, s.b[v.Start]
	switch fd {
	case fieldID:
		return s.noteID(v)
	case fieldVersion, fieldMethod, fieldProtocolVersion, fieldResultType:
		return s.noteText(fd, v)
	case fieldName, fieldURI, fieldTaskID:
		// C programs end a text at NUL and would act on another name.
		if c == '"' && s.strict && s.marks&nul != 0 {
			return flawNUL
		}
	case fieldParams, fieldResult, fieldError, fieldMeta, fieldResultMeta:
		if c != '{' {
			return objectFlaw(fd)
		}
	case fieldMessage:
		if c != '"' {
			return flawError
		}
	case fieldCode:
		code, err := strconv.ParseInt(string(v.Of(s.b)), 10, 64)
		if err != nil {
			return flawError
		}
		e.ErrorCode, s.coded = code, true
		return sound
	case fieldIsError:
		e.IsError = c == 't'
		return sound
	}
	*e.place(fd) = v
	return sound
}

func objectFlaw(fd field) flaw {
	switch fd {
	case fieldParams:
		return flawParams
	case fieldResult:
		return flawResult
	case fieldError:
		return flawError
	}
	return flawMeta
}

// noteID takes a string or a whole number. Minus zero, fractions and exponents
// are refused: a server would send them back in another form.
func (s *scanner) noteID(v Span) flaw {
	raw := v.Of(s.b)
	switch c := raw[0]; {
	case len(raw) > s.lim.IDBytes:
		return flawLongID
	case c == 'n':
		s.nullID = true
		return sound
	case c == '"':
		if s.marks&nul != 0 {
			return flawNUL
		}
	case !counts(raw):
		if n, err := strconv.ParseInt(string(raw), 10, 64); err != nil || (n == 0 && c == '-') {
			return flawID
		}
	}
	s.e.ID = v
	return sound
}

// counts reports whether a value is a whole number as most ids are: digits, and
// not too many.
func counts(raw []byte) bool {
	for _, c := range raw {
		if c-'0' >= 10 {
			return false
		}
	}
	return len(raw) <= 18
}

// noteText decodes the strings that the envelope shows decoded.
func (s *scanner) noteText(fd field, v Span) flaw {
	raw := v.Of(s.b)
	text := []byte(nil)
	if raw[0] == '"' {
		text = raw[1 : len(raw)-1]
		if s.marks&escaped != 0 {
			s.keys.a = appendUnquoted(s.keys.a[:0], text)
			text = s.keys.a
		}
	}
	switch {
	case fd == fieldVersion:
		s.versioned = string(text) == "2.0"
		if !s.versioned {
			return flawVersion
		}
	case fd == fieldMethod:
		if len(text) == 0 || len(text) > maxMethodBytes || s.marks&nul != 0 {
			return flawMethod
		}
		s.e.Method = intern(text)
	case fd == fieldProtocolVersion:
		if len(text) == 0 || len(text) > maxMethodBytes {
			return flawMetaText
		}
		s.e.ProtocolVersion, s.e.ProtocolVersionSpan = internVersion(text), v
	default:
		if len(text) == 0 || len(text) > maxMethodBytes {
			return flawResultType
		}
		s.e.ResultType, s.e.ResultTypeSpan = internResultType(text), v
	}
	return sound
}

// place returns the span a field is kept in.
func (e *Envelope) place(fd field) *Span {
	switch fd {
	case fieldParams:
		return &e.Params
	case fieldResult:
		return &e.Result
	case fieldError:
		return &e.Error
	case fieldName:
		return &e.Name
	case fieldURI:
		return &e.URI
	case fieldArguments:
		return &e.Arguments
	case fieldCursor:
		return &e.Cursor
	case fieldRequestState:
		return &e.RequestState
	case fieldInputResponses:
		return &e.InputResponses
	case fieldTaskID:
		return &e.TaskID
	case fieldRequestID:
		return &e.RequestID
	case fieldProgress:
		return &e.Progress
	case fieldMeta:
		return &e.Meta
	case fieldCapabilities:
		return &e.ClientCapabilities
	case fieldClientInfo:
		return &e.ClientInfo
	case fieldLogLevel:
		return &e.LogLevel
	case fieldSubscriptionID:
		return &e.SubscriptionID
	case fieldProgressToken:
		return &e.ProgressToken
	case fieldContent:
		return &e.Content
	case fieldStructured:
		return &e.StructuredContent
	case fieldResultMeta:
		return &e.ResultMeta
	case fieldServerInfo:
		return &e.ServerInfo
	case fieldMessage:
		return &e.ErrorMessage
	default:
		return &e.ErrorData
	}
}

func internVersion(text []byte) string {
	switch string(text) {
	case string(Revision20260728):
		return string(Revision20260728)
	case string(Revision20251125):
		return string(Revision20251125)
	}
	return string(text)
}

func internResultType(text []byte) string {
	switch string(text) {
	case ResultComplete:
		return ResultComplete
	case ResultInputRequired:
		return ResultInputRequired
	case ResultTask:
		return ResultTask
	}
	return string(text)
}
