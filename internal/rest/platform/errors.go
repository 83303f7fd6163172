package platform

import "headgate/internal/fault"

// The faults of this door.
var (
	errOtherDoor  = fault.New(fault.Forbidden, "platform.other_door", "This kind of key is for another door. The Platform API takes a session, a personal key (mcp_sk_…), an organization key (ok_…) or an operator key (op_…).")
	errTool       = fault.New(fault.Upstream, "platform.tool_error", "The tool reported an error. Its answer is in details.result.")
	errRPC        = fault.New(fault.Upstream, "platform.refused", "The MCP server refused the request. Its words are in details.error.")
	errAnswer     = fault.New(fault.Upstream, "platform.bad_result", "The MCP server's answer is not what MCP promises. Report it to whoever runs the server.")
	errAsks       = fault.New(fault.Unsupported, "platform.asks_back", "The server asks its caller something before it answers, which this API cannot pass on. Use the MCP endpoint of the Gateway.")
	errNoTool     = fault.New(fault.NotFound, "platform.no_tool", "The service has no such tool. List its tools (GET /v1/mcp/tools).")
	errNoPrompt   = fault.New(fault.NotFound, "platform.no_prompt", "The service has no such prompt. List its prompts (GET /v1/mcp/prompts).")
	errNoResource = fault.New(fault.NotFound, "platform.no_resource", "The service has no resource or template of this name. List them (GET /v1/mcp/resources).")
	errAddress    = fault.New(fault.Invalid, "platform.address", "This address cannot be used. Send the https URL of an MCP endpoint.")
	errNoPack     = fault.New(fault.NotFound, "platform.no_pack", "There is no such credit pack. List them (GET /v1/admin/credit-packs).")
)

// address turns the refusal of a server's address, which is worded as if the
// server had been called, into one of what was sent.
func address(err error) error {
	if f := fault.Of(err); f != nil && f.Kind == fault.Upstream {
		return errAddress.Saying("%s", f.Message).Because(err)
	}
	return err
}

// codes are the words of single faults where the kind's word is not the right
// one.
var codes = map[string]string{
	"identity.bad_credentials": "AUTH_INVALID_CREDENTIALS",
	"identity.token_expired":   "AUTH_TOKEN_EXPIRED",
	"apikey.expired":           "AUTH_TOKEN_EXPIRED",
}
