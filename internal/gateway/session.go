package gateway

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"headgate/internal/access"
	"headgate/internal/catalog"
	"headgate/internal/mcp"
	"headgate/internal/seal"
	"headgate/internal/upstream"
)

// session is a legacy client's. Its id is sealed and holds all that a restart
// must not lose; the rest is rebuilt as it is used.
type session struct {
	id       string
	affinity string // what servers' own sessions hang on; never shown
	owner    string // principal id
	revision mcp.Revision
	client   upstream.Client
	used     atomic.Int64 // unix seconds

	mu       sync.Mutex
	inflight map[string]context.CancelFunc // by raw request id
	asked    map[string]question           // requests of servers, by the id we gave them
	serial   uint64
	streams  map[*stream]struct{} // open GET streams
	level    string               // logging/setLevel
	subs     map[string]*catalog.Server
}

// question is a request of a server that the client is to answer.
type question struct {
	server *catalog.Server
	id     []byte // as the server gave it
}

// sealed is what a session id holds.
type sealed struct {
	Affinity     string          `json:"a"`
	Owner        string          `json:"o"`
	Revision     mcp.Revision    `json:"r"`
	Capabilities json.RawMessage `json:"c,omitempty"`
	Info         json.RawMessage `json:"i,omitempty"`
	Made         int64           `json:"m"`
}

const maxClientInfo = 2048 // of capabilities and info each, raw; larger ones are not carried in the id

type sessions struct {
	keys *seal.Keys
	now  func() time.Time
	mu   sync.RWMutex
	live map[string]*session
	per  map[string]int
	over map[string]int64 // affinities of ended sessions → when their ids expire
}

func (ss *sessions) init(keys *seal.Keys, now func() time.Time) {
	ss.keys, ss.now = keys, now
	ss.live, ss.per, ss.over = map[string]*session{}, map[string]int{}, map[string]int64{}
}

const sessionPlace = "gateway:session"

// open makes a session for a client that initializes.
func (ss *sessions) open(by *access.Principal, rev mcp.Revision, c upstream.Client) (*session, error) {
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	in := sealed{Affinity: hex.EncodeToString(raw[:]), Owner: by.ID, Revision: rev, Made: ss.now().Unix()}
	if len(c.Capabilities) <= maxClientInfo {
		in.Capabilities = c.Capabilities
	}
	if len(c.Info) <= maxClientInfo {
		in.Info = c.Info
	}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	s := ss.make(base64.RawURLEncoding.EncodeToString(ss.keys.Seal(sessionPlace, text)), in)
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.per[by.ID] >= maxSessions {
		ss.dropOldest(by.ID)
	}
	ss.add(s)
	return s, nil
}

func (ss *sessions) make(id string, in sealed) *session {
	s := &session{id: id, affinity: in.Affinity, owner: in.Owner, revision: in.Revision, client: upstream.Client{Capabilities: in.Capabilities, Info: in.Info}}
	s.used.Store(ss.now().Unix())
	return s
}

func (ss *sessions) add(s *session) {
	ss.live[s.id] = s
	ss.per[s.owner]++
}

func (ss *sessions) drop(s *session) {
	if ss.live[s.id] == s {
		delete(ss.live, s.id)
		if ss.per[s.owner]--; ss.per[s.owner] == 0 {
			delete(ss.per, s.owner)
		}
	}
}

// dropOldest forgets the least recently used session of a principal; its id
// still opens it again.
func (ss *sessions) dropOldest(owner string) {
	var old *session
	for _, s := range ss.live {
		if s.owner == owner && (old == nil || s.used.Load() < old.used.Load()) {
			old = s
		}
	}
	if old != nil {
		ss.drop(old)
	}
}

// find returns the session of an id, also when it was made before a restart;
// another principal's looks like none.
func (ss *sessions) find(by *access.Principal, id string) (*session, error) {
	ss.mu.RLock()
	s := ss.live[id]
	ss.mu.RUnlock()
	if s == nil {
		var err error
		if s, err = ss.revive(id); err != nil {
			return nil, err
		}
	}
	if s.owner != by.ID {
		return nil, errSession
	}
	if now := ss.now().Unix(); s.used.Load() != now {
		s.used.Store(now)
	}
	return s, nil
}

func (ss *sessions) revive(id string) (*session, error) {
	if len(id) > 8192 {
		return nil, errSession
	}
	blob, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		return nil, errSession
	}
	text, err := ss.keys.Open(sessionPlace, blob)
	if err != nil {
		return nil, errSession
	}
	var in sealed
	if err := json.Unmarshal(text, &in); err != nil || ss.now().Sub(time.Unix(in.Made, 0)) > sessionLife {
		return nil, errSession
	}
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if _, over := ss.over[in.Affinity]; over {
		return nil, errSession
	}
	if s := ss.live[id]; s != nil {
		return s, nil
	}
	s := ss.make(id, in)
	ss.add(s)
	return s, nil
}

// end closes a session for good: its id opens nothing any more.
func (ss *sessions) end(s *session) {
	ss.mu.Lock()
	ss.drop(s)
	ss.over[s.affinity] = ss.now().Add(sessionLife).Unix()
	ss.mu.Unlock()
	s.close()
}

// sweep forgets idle sessions and expired endings.
func (ss *sessions) sweep() {
	now := ss.now()
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, s := range ss.live {
		if now.Unix()-s.used.Load() > int64(sessionIdle.Seconds()) && !s.busy() {
			ss.drop(s)
		}
	}
	for a, until := range ss.over {
		if now.Unix() > until {
			delete(ss.over, a)
		}
	}
}

func (s *session) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.inflight)+len(s.streams) > 0
}

// close ends what runs in the session.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, cancel := range s.inflight {
		cancel()
	}
	for st := range s.streams {
		st.end()
	}
}

// begin notes a request in flight, so that it can be cancelled and its id not
// be used twice.
func (s *session) begin(id []byte, cancel context.CancelFunc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.inflight[string(id)]; ok {
		return errInFlight
	}
	if s.inflight == nil {
		s.inflight = map[string]context.CancelFunc{}
	}
	s.inflight[string(id)] = cancel
	return nil
}

func (s *session) done(id []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.inflight, string(id))
}

// cancel ends the request a notifications/cancelled names.
func (s *session) cancel(id []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.inflight[string(id)]; ok {
		c()
	}
}

// ask gives a server's request an id of this session and remembers whose it is.
func (s *session) ask(server *catalog.Server, id []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.serial++
	ours := `"hg-` + hex.EncodeToString([]byte{byte(s.serial >> 24), byte(s.serial >> 16), byte(s.serial >> 8), byte(s.serial)}) + `"`
	if s.asked == nil {
		s.asked = map[string]question{}
	}
	s.asked[ours] = question{server, append([]byte(nil), id...)}
	return []byte(ours)
}

// answered returns whose request a client's reply answers, once.
func (s *session) answered(id []byte) (question, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q, ok := s.asked[string(id)]
	delete(s.asked, string(id))
	return q, ok
}
