// The official client over stdio, with headgate connect as its server: it
// initializes, lists, calls, and meets an error. Arguments: the program, then
// its own; HEADGATE_URL and HEADGATE_KEY go on by name, since the client hands
// nothing else of its environment on. Prints one JSON object.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';

const [command, ...args] = process.argv.slice(2);
const { HEADGATE_URL, HEADGATE_KEY } = process.env;
const transport = new StdioClientTransport({ command, args, env: { HEADGATE_URL, HEADGATE_KEY } });
const client = new Client({ name: 'test', version: '1' });
await client.connect(transport);
const { tools } = await client.listTools();
const echo = tools.map((t) => t.name).find((name) => name.endsWith('echo'));
const said = await client.callTool({ name: echo, arguments: { text: 'over stdio' } });
let error = '';
try {
  await client.callTool({ name: 'nobody', arguments: {} });
} catch (e) {
  error = String(e);
}
console.log(JSON.stringify({ server: client.getServerVersion()?.name, tools: tools.map((t) => t.name), said: JSON.stringify(said), error }));
await client.close();
