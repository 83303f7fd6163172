package gateway

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/mcp"
	"headgate/internal/seal"
	"headgate/internal/upstream"
)

const (
	sessionPlace = "gateway:session"
	sessionIdle  = 30 * time.Minute // in memory; the sealed id itself lasts longer
	sessionLife  = 30 * 24 * time.Hour
	maxSessions  = 1000 // in memory, of one principal
	maxSessionID = 8 << 10
	maxSaid      = 2 << 10 // of capabilities and of info, raw; of larger ones only what is known is carried in the id
)

// sessions are the legacy clients' sessions. A session's id is the session,
// sealed: this table only saves opening it for each message.
type sessions struct {
	keys *seal.Keys
	now  func() time.Time
	mu   sync.RWMutex
	live map[string]*session
	per  map[string]map[*session]struct{} // by owner
	over map[string]int64                 // affinities of ended sessions → when their ids expire
}

func (ss *sessions) init(keys *seal.Keys, now func() time.Time) {
	ss.keys, ss.now = keys, now
	ss.live, ss.per, ss.over = map[string]*session{}, map[string]map[*session]struct{}{}, map[string]int64{}
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

// open makes a session for a client that initializes.
func (ss *sessions) open(by *access.Principal, rev mcp.Revision, c upstream.Client) (*session, error) {
	var raw [16]byte
	_, _ = rand.Read(raw[:])
	in := sealed{Affinity: hex.EncodeToString(raw[:]), Owner: by.ID, Revision: rev, Made: ss.now().Unix(),
		Capabilities: clipped(c.Capabilities, "elicitation", "roots", "sampling"), Info: clipped(c.Info, "name", "title", "version")}
	text, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	s := ss.make(base64.RawURLEncoding.EncodeToString(ss.keys.Seal(sessionPlace, text)), in)
	s.client = c
	ss.mu.Lock()
	defer ss.mu.Unlock()
	return s, ss.add(s)
}

// clipped returns an object that fits into a session id: itself, or the named
// members of it as far as they fit.
func clipped(object []byte, members ...string) []byte {
	if len(object) <= maxSaid {
		return object
	}
	out := []byte(`{}`)
	for _, key := range members {
		v, ok := mcp.Get(object, mcp.Root(object), key)
		if ok && v.Len() <= maxSaid/len(members) {
			out = mcp.InsertMember(nil, out, mcp.Root(out), key, v.Of(object))
		}
	}
	return out
}

func (ss *sessions) make(id string, in sealed) *session {
	s := &session{id: id, affinity: in.Affinity, owner: in.Owner, revision: in.Revision, client: upstream.Client{Capabilities: in.Capabilities, Info: in.Info}}
	s.used.Store(ss.now().Unix())
	return s
}

// add puts a session into the table. The least recently used one of a principal
// that has too many makes room: its id opens it again.
func (ss *sessions) add(s *session) error {
	own := ss.per[s.owner]
	if len(own) >= maxSessions {
		var old *session
		for o := range own {
			if !o.busy() && (old == nil || o.used.Load() < old.used.Load()) {
				old = o
			}
		}
		if old == nil {
			return errSessions
		}
		ss.drop(old)
	}
	if own = ss.per[s.owner]; own == nil {
		own = map[*session]struct{}{}
		ss.per[s.owner] = own
	}
	own[s], ss.live[s.id] = struct{}{}, s
	return nil
}

func (ss *sessions) drop(s *session) {
	if ss.live[s.id] != s {
		return
	}
	delete(ss.live, s.id)
	delete(ss.per[s.owner], s)
	if len(ss.per[s.owner]) == 0 {
		delete(ss.per, s.owner)
	}
	s.erase()
}

// find returns the session of an id, also when it was made before a restart;
// another principal's looks like none.
func (ss *sessions) find(by *access.Principal, id string) (*session, error) {
	ss.mu.RLock()
	s := ss.live[id]
	ss.mu.RUnlock()
	if s == nil {
		var err error
		if s, err = ss.revive(by, id); err != nil {
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

func (ss *sessions) revive(by *access.Principal, id string) (*session, error) {
	if len(id) > maxSessionID {
		return nil, errSession
	}
	blob, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil {
		return nil, errSession
	}
	text, err := ss.keys.Open(sessionPlace, blob)
	if err != nil {
		return nil, errSession
	}
	var in sealed
	if err := json.Unmarshal(text, &in); err != nil || in.Owner != by.ID || ss.now().Sub(time.Unix(in.Made, 0)) > sessionLife {
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
	return s, ss.add(s)
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
		s.forget(now)
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
