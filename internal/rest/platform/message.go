package platform

import (
	"headgate/internal/mcp"
	"headgate/internal/rest"
)

// use is one use of a tool, prompt or resource, before it is a message.
type use struct {
	method  string
	name    string
	params  []member
	secrets []string
	failed  error // why the server cannot be asked
}

// member is a member of params, its value raw JSON.
type member struct {
	key   string
	value []byte
}

func text(key, value string) member { return member{key, mcp.AppendString(nil, value)} }

func raw(key string, o rest.Object) member {
	if len(o) == 0 {
		o = rest.Object("{}")
	}
	return member{key, o}
}

// message writes the request in the era of a revision.
func (u use) message(rev mcp.Revision, version string) []byte {
	params := []byte{'{'}
	for i, m := range u.params {
		if i > 0 {
			params = append(params, ',')
		}
		params = append(append(mcp.AppendString(params, m.key), ':'), m.value...)
	}
	if rev.Era() == mcp.Modern {
		params = append(params, `,"_meta":{`...)
		params = append(append(mcp.AppendString(params, mcp.MetaProtocolVersion), ':'), mcp.AppendString(nil, string(rev))...)
		params = append(append(append(params, ','), mcp.AppendString(nil, mcp.MetaClientCapabilities)...), `:{},`...)
		params = append(append(mcp.AppendString(params, mcp.MetaClientInfo), `:{"name":"headgate","version":`...), mcp.AppendString(nil, version)...)
		params = append(params, '}', '}')
	}
	return mcp.AppendRequest(nil, []byte("1"), u.method, append(params, '}'))
}

// secretArguments names the top-level arguments that a tool's schema marks as
// secret, so that the log keeps no value of theirs.
func secretArguments(tool []byte) []string {
	properties, ok := mcp.Find(tool, mcp.Root(tool), "inputSchema", "properties")
	if !ok {
		return nil
	}
	var names []string
	for m := range mcp.Members(tool, properties) {
		if name, err := mcp.String(tool, m.Key); err == nil && isSecret(tool, m.Value) {
			names = append(names, name)
		}
	}
	return names
}

func isSecret(b []byte, schema mcp.Span) bool {
	for m := range mcp.Members(b, schema) {
		switch {
		case m.Is(b, "writeOnly"), m.Is(b, "x-secret"):
			if string(m.Value.Of(b)) == "true" {
				return true
			}
		case m.Is(b, "format"):
			if mcp.Equal(b, m.Value, "password") {
				return true
			}
		}
	}
	return false
}
