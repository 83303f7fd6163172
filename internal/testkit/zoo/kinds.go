package zoo

// Kind is a way to misbehave.
type Kind string

// The kinds, by class.
const (
	// Time.
	NeverAccepts Kind = "never accepts"
	Hangs        Kind = "accepts and hangs"
	Dribbles     Kind = "a byte now and then"
	HeadAlone    Kind = "headers, then silence"
	Comments     Kind = "comments for ever, no answer"
	OnTheDot     Kind = "an answer around the deadline"
	HangsAtEnd   Kind = "hangs when its session ends"
	// Size.
	Endless     Kind = "1 GB body"
	EndlessSSE  Kind = "endless event stream"
	EndlessLine Kind = "endless line"
	Packed      Kind = "packed answer"
	ManyTools   Kind = "100,000 tools"
	LongText    Kind = "10 MB description"
	LongCursor  Kind = "1 MB cursor"
	NoLastPage  Kind = "pages that never end"
	// Shape.
	BadJSON    Kind = "truncated, twice the same key, keys in the wrong case"
	BadUTF8    Kind = "invalid UTF-8"
	WebPage    Kind = "HTML with 200"
	OddStatus  Kind = "odd status or media type"
	OddID      Kind = "wrong, missing, null, text for number, twice, somebody else's id"
	TwoEnds    Kind = "a result and an error"
	UnknownEnd Kind = "unknown result type"
	Deep       Kind = "depth 100,000"
	// Life.
	Reset       Kind = "reset in the middle"
	Closed      Kind = "close in the middle of a stream"
	SignIn      Kind = "401 again and again"
	Throttled   Kind = "429 without Retry-After"
	Redirects   Kind = "a redirect inside"
	Certificate Kind = "certificate expired, of another name, self-signed"
	NameComes   Kind = "a name that resolves now and then"
	HTTP2       Kind = "HTTP/2: GOAWAY and a flood of resets"
	// Malice.
	Changing   Kind = "a list that changes every time"
	Shadowing  Kind = "a tool under another's name"
	Schema     Kind = "a schema that points to the network, or has 100,000 parts"
	Reflecting Kind = "reflected secrets"
	Headers    Kind = "cookies and CORS"
	Uninvited  Kind = "uninvited requests"
)

// Kinds are all of them.
var Kinds = []Kind{
	NeverAccepts, Hangs, Dribbles, HeadAlone, Comments, OnTheDot, HangsAtEnd,
	Endless, EndlessSSE, EndlessLine, Packed, ManyTools, LongText, LongCursor, NoLastPage,
	BadJSON, BadUTF8, WebPage, OddStatus, OddID, TwoEnds, UnknownEnd, Deep,
	Reset, Closed, SignIn, Throttled, Redirects, Certificate, NameComes, HTTP2,
	Changing, Shadowing, Schema, Reflecting, Headers, Uninvited,
}

// elsewhere are the kinds that neither an answer nor a list can show, with the
// tests that do.
var elsewhere = map[Kind]string{
	HangsAtEnd: "gateway.TestZoo, a server that hangs when its session ends; upstream.TestSessions, a hung goodbye",
}
