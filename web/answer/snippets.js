// The same request for a shell and for Python. What they print works when it is pasted: an image stands in them, comes from this server,
// or, where it is too large for that, from a file that the page hands out under the name that they read.
import { addressOf, hasKey } from '../api.js';

const MOST_INLINE = 200_000; // characters of a data: address that still can be pasted
const ENDPOINT = 'v1/chat/completions';

const isData = (url) => url.startsWith('data:');
const isLarge = (image) => isData(image.url) && !image.sample && image.url.length > MOST_INLINE;

// Files that must lie in the working directory: [{name, blob}]. Names are plain, so that no shell reads anything else in them.
export function filesOf(record) {
  return record.images
    .filter(isLarge)
    .map((image, i) => ({ image, name: `image_${i + 1}.${image.blob.type.split('/')[1]}`, blob: image.blob }));
}

// Where an image comes from: {kind: 'text', text}, {kind: 'address', address, type} or {kind: 'file', name, type}.
function sourcesOf(record) {
  const files = new Map(filesOf(record).map(({ image, name }) => [image.url, name]));
  return (url) => {
    const image = record.images.find((one) => one.url === url);
    const type = image?.blob?.type;
    if (image?.sample) return { kind: 'address', address: addressOf(`playground/samples/${image.sample}`), type };
    if (files.has(url)) return { kind: 'file', name: files.get(url), type };
    return { kind: 'text', text: url };
  };
}

// ---- shell

// In a here-document that expands, only these are special.
const escaped = (text) => text.replace(/[\\$`]/g, '\\$&');

const quoted = (address) => address.replaceAll("'", '%27');

function shellUrl(source) {
  if (source.kind === 'text') return escaped(source.text);
  const read = source.kind === 'file' ? `cat ${source.name}` : `curl -sS '${quoted(source.address)}'`;
  return `data:${source.type};base64,$(${read} | base64 | tr -d '\\n')`;
}

// body: that of the request; record: whose images are in it.
export function curlOf(body, record) {
  const sourceOf = sourcesOf(record),
    urls = [];
  const mark = `URL${crypto.getRandomValues(new Uint32Array(2)).join('')}N`; // nobody's text holds it
  const marked = (name, value) => (name === 'url' ? `${mark}${urls.push(shellUrl(sourceOf(value))) - 1}` : value);
  const text = escaped(JSON.stringify(body, marked, 1));
  const filled = text.replace(new RegExp(`${mark}(\\d+)`, 'g'), (_, i) => urls[i]);
  const auth = hasKey() ? ' -H "authorization: Bearer $DIPTYCH_API_KEY"' : '';
  return `curl -sS '${quoted(addressOf(ENDPOINT))}' -H 'content-type: application/json'${auth} --data-binary @- <<JSON\n${filled}\nJSON`;
}

// ---- Python

// Parameters of OpenAI's client; the others go into extra_body.
const OPENAI = new Set([
  'model',
  'messages',
  'max_tokens',
  'temperature',
  'top_p',
  'seed',
  'stop',
  'logprobs',
  'top_logprobs',
]);

class Expression {
  constructor(text) {
    this.text = text;
  }
}

const lines = (open, items, close, indent) =>
  `${open}\n${items.map((item) => `${indent}    ${item},\n`).join('')}${indent}${close}`;

// A JSON value as a Python expression. JSON's strings are Python's.
function python(value, indent = '') {
  if (value instanceof Expression) return value.text;
  if (value === null) return 'None';
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (Array.isArray(value))
    return lines(
      '[',
      value.map((item) => python(item, `${indent}    `)),
      ']',
      indent,
    );
  if (typeof value !== 'object') return JSON.stringify(value);
  const items = Object.entries(value).map(
    ([name, item]) => `${JSON.stringify(name)}: ${python(item, `${indent}    `)}`,
  );
  return lines('{', items, '}', indent);
}

function pythonUrl(source) {
  if (source.kind === 'text') return source.text;
  const read = source.kind === 'file' ? `open("${source.name}", "rb")` : `urllib.request.urlopen("${source.address}")`;
  return new Expression(`data_url("${source.type}", ${read})`);
}

const READER = `

def data_url(media_type, file):
    with file:
        return f"data:{media_type};base64,{base64.b64encode(file.read()).decode()}"

`;

function withUrls(value, sourceOf) {
  if (Array.isArray(value)) return value.map((item) => withUrls(item, sourceOf));
  if (value === null || typeof value !== 'object') return value;
  const replaced = ([name, item]) => [name, name === 'url' ? pythonUrl(sourceOf(item)) : withUrls(item, sourceOf)];
  return Object.fromEntries(Object.entries(value).map(replaced));
}

// Needs OpenAI's client, as its first line says.
export function pythonOf(body, record) {
  const sourceOf = sourcesOf(record);
  const entries = Object.entries(withUrls(JSON.parse(JSON.stringify(body)), sourceOf));
  const named = entries.filter(([name]) => OPENAI.has(name)),
    extra = entries.filter(([name]) => !OPENAI.has(name));
  const call = named.map(([name, value]) => `${name}=${python(value, '    ')}`);
  if (extra.length > 0) call.push(`extra_body=${python(Object.fromEntries(extra), '    ')}`);
  const modules = ['base64', ...(hasKey() ? ['os'] : []), 'urllib.request'];
  const imports = `# pip install openai\n${modules.map((name) => `import ${name}\n`).join('')}\nfrom openai import OpenAI\n`;
  const reads = record.images.some(({ url }) => sourceOf(url).kind !== 'text');
  const key = hasKey() ? 'os.environ["DIPTYCH_API_KEY"]' : '"none"';
  const client = `client = OpenAI(base_url="${addressOf('v1')}", api_key=${key})\n`;
  return `${imports}${reads ? READER : '\n'}${client}reply = client.chat.completions.create${lines('(', call, ')', '')}\nprint(reply.choices[0].message.content)`;
}
