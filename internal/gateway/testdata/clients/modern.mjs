// The official client of 2026-07-28: the same story. Arguments: URL, key.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';

const [url, key] = process.argv.slice(2);
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${key}` } } });
const client = new Client({ name: 'test', version: '1' }, { capabilities: { sampling: {} }, versionNegotiation: { mode: 'auto' } });
client.setRequestHandler('sampling/createMessage', async () => ({ role: 'assistant', model: 'test', content: { type: 'text', text: 'sampled by the client' } }));
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
console.log(JSON.stringify({ revision: client.getNegotiatedProtocolVersion(), tools: tools.map((t) => t.name), echo: JSON.stringify(echo), sampled: JSON.stringify(sampled), error }));
await client.close();
