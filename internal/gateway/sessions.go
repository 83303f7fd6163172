package gateway

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"sync"
	"time"

	"headgate/internal/access"
	"headgate/internal/gateway/notes"
	"headgate/internal/mcp"
	"headgate/internal/seal"
	"headgate/internal/upstream"
)

const (
	sessionPlace = "gateway:session"
	sessionIdle  = 30 * time.Minute // in memory; the sealed id itself lasts longer
	sessionLife  = 30 * 24 * time.Hour
	endingHeard  = time.Minute
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
	refs map[string]*session              // as replicas name them
	over map[string]int64                 // refs of ended sessions → until when that is remembered here

	catchUp func(ctx context.Context, by *access.Principal, s *session) error // with what is noted of one
}

func (ss *sessions) init(keys *seal.Keys, now func() time.Time) {
	ss.keys, ss.now = keys, now
	ss.live, ss.per, ss.refs, ss.over = map[string]*session{}, map[string]map[*session]struct{}{}, map[string]*session{}, map[string]int64{}
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

// until is when the id is too old.
func (in sealed) until() time.Time { return time.Unix(in.Made, 0).Add(sessionLife) }

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
	s.user.Store(by)
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
	s := &session{id: id, affinity: in.Affinity, ref: notes.Ref(in.Affinity), owner: in.Owner, revision: in.Revision, until: in.until(), client: upstream.Client{Capabilities: in.Capabilities, Info: in.Info}}
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
	own[s], ss.live[s.id], ss.refs[s.ref] = struct{}{}, s, s
	return nil
}

func (ss *sessions) drop(s *session) {
	if ss.live[s.id] != s {
		return
	}
	delete(ss.live, s.id)
	delete(ss.refs, s.ref)
	delete(ss.per[s.owner], s)
	if len(ss.per[s.owner]) == 0 {
		delete(ss.per, s.owner)
	}
	s.erase()
}

// find returns the session of an id, also when it was made before a restart or
// changed on another replica; another principal's looks like none.
func (ss *sessions) find(ctx context.Context, by *access.Principal, id string) (*session, error) {
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
		s.user.Store(by)
	}
	if s.behind() {
		if err := ss.catchUp(ctx, by, s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// revive opens an id that is not in memory. The session is behind what is noted
// of it, and in the table before that is read, so that no change is missed.
func (ss *sessions) revive(by *access.Principal, id string) (*session, error) {
	in, err := ss.unseal(by, id)
	if err != nil {
		return nil, err
	}
	s := ss.make(id, in)
	s.heard.Add(1)
	s.user.Store(by)
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if _, over := ss.over[s.ref]; over {
		return nil, errSession
	}
	if other := ss.live[id]; other != nil {
		return other, nil
	}
	return s, ss.add(s)
}

// unseal reads an id; another principal's looks like none.
func (ss *sessions) unseal(by *access.Principal, id string) (in sealed, err error) {
	if len(id) > maxSessionID {
		return in, errSession
	}
	blob, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil {
		return in, errSession
	}
	text, err := ss.keys.Open(sessionPlace, blob)
	if err != nil {
		return in, errSession
	}
	if err := json.Unmarshal(text, &in); err != nil || in.Owner != by.ID || ss.now().After(in.until()) {
		return in, errSession
	}
	return in, nil
}

// end closes a session for good: its id opens nothing any more.
func (ss *sessions) end(s *session) {
	ss.mu.Lock()
	ss.drop(s)
	ss.over[s.ref] = s.until.Unix()
	ss.mu.Unlock()
	s.close()
}

// ending hears that the session has ended which replicas know by this name,
// and returns it if it is here.
func (ss *sessions) ending(ref string) *session {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.heard(ref)
	return ss.refs[ref]
}

// known returns the session that replicas know by this name, if it is here.
func (ss *sessions) known(ref string) *session {
	ss.mu.RLock()
	defer ss.mu.RUnlock()
	return ss.refs[ref]
}

// heard remembers for a while that the store has a session's end, so that what
// was read there before is not believed after it.
func (ss *sessions) heard(ref string) {
	if _, ok := ss.over[ref]; !ok {
		ss.over[ref] = ss.now().Add(endingHeard).Unix()
	}
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
