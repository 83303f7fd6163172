// The official client of the revisions with sessions: lists, calls, is asked to
// sample, and meets an error. Arguments: URL, key. Prints one JSON object.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { CreateMessageRequestSchema } from '@modelcontextprotocol/sdk/types.js';

const [url, key] = process.argv.slice(2);
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${key}` } } });
const client = new Client({ name: 'test', version: '1' }, { capabilities: { sampling: {} } });
client.setRequestHandler(CreateMessageRequestSchema, async () => ({ role: 'assistant', model: 'test', content: { type: 'text', text: 'sampled by the client' } }));
await client.connect(transport);
const prefix = url.endsWith('/mcp') ? 'every_' : '';
const { tools } = await client.listTools();
const echo = await client.callTool({ name: prefix + 'echo', arguments: { message: 'hello' } });
const sampled = await client.callTool({ name: prefix + 'trigger-sampling-request', arguments: { prompt: 'p', maxTokens: 10 } });
let error = '';
try {
  await client.readResource({ uri: 'nothing://here' });
} catch (e) {
  error = String(e);
}
console.log(JSON.stringify({ revision: transport.protocolVersion, tools: tools.map((t) => t.name), echo: JSON.stringify(echo), sampled: JSON.stringify(sampled), error }));
await transport.terminateSession();
await client.close();
