package cli

import (
	"context"
	"fmt"
	"net/url"
	"strings"

	"headgate/internal/cli/bridge"
)

type connectCmd struct {
	Endpoint string `arg:"" optional:"" name:"url" help:"The MCP endpoint, or its path (/mcp/demo); left out, the server's /mcp."`
}

func (connectCmd) Help() string {
	return `Speaks MCP on stdin and stdout, one message a line, and relays it to the Gateway with your credential. It is the
command of an entry in a desktop client's configuration. It ends with its input; nothing else is printed to stdout.

    headgate connect
    headgate connect /mcp/demo
    {"mcpServers": {"headgate": {"command": "headgate", "args": ["connect", "https://mcp.example.com/mcp"],
                                "env": {"HEADGATE_KEY": "mcp_sk_…"}}}}`
}

// Run relays until the input ends.
func (c *connectCmd) Run(ctx context.Context, x *env) error {
	endpoint, base := x.baseURL()+"/mcp", x.baseURL()
	switch {
	case strings.HasPrefix(c.Endpoint, "/"):
		endpoint = x.baseURL() + c.Endpoint
	case c.Endpoint != "":
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil {
			return invalid("%q is no http or https URL, and no path", c.Endpoint)
		}
		// The credential is looked up for the server the endpoint is on.
		endpoint, base = c.Endpoint, u.Scheme+"://"+u.Host
		if strings.HasPrefix(endpoint, x.baseURL()+"/") {
			base = x.baseURL()
		}
	}
	credential, err := x.credential(base)
	if err != nil {
		return err
	}
	return bridge.Run(ctx, bridge.Options{
		URL: endpoint, Credential: credential, In: x.in, Out: x.out, HTTP: bridge.NewHTTP(), UserAgent: "headgate-connect/" + x.program.Version,
		Log: func(format string, args ...any) {
			_, _ = fmt.Fprintln(x.err, "headgate: "+plain(fmt.Sprintf(format, args...)))
		},
	})
}
