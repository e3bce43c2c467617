/**
 * Prints the generated codec of a message: `node dist/scripts/protocol-dump.js Heartbeat 4
 * [request|response]`. Without a direction both are printed; without a version the newest.
 */
import { parseArgs } from 'node:util'
import { APIS } from '../src/protocol/apis.ts'
import { codecSource } from '../src/protocol/codec.ts'
import { inVersions, parseVersions } from '../src/protocol/schema.ts'

const USAGE = 'protocol-dump API [VERSION] [request|response]'

function fail(message: string): never {
  process.stderr.write(`${message}\n`)
  process.exit(1)
}

/** Breaks generated source into lines, at braces and semicolons outside of parentheses. */
function inLines(source: string): string {
  let parentheses = 0
  let text = ''
  for (const char of source.replaceAll('\n', ' ')) {
    if (char === '(') parentheses += 1
    else if (char === ')') parentheses -= 1
    if (char === '}' && parentheses === 0) text += '\n'
    // The end of a statement stays on the line of the brace before it.
    if (char === ';' && text.endsWith('}\n')) text = text.slice(0, -1)
    text += char
    if (parentheses === 0 && '{};'.includes(char)) text += '\n'
  }
  let depth = 0
  const lines: string[] = []
  for (const line of text.split('\n').map((one) => one.trim())) {
    if (line === '') continue
    if (line.startsWith('}')) depth -= 1
    lines.push('  '.repeat(depth) + line)
    if (line.endsWith('{')) depth += 1
  }
  return `${lines.join('\n')}\n`
}

const { positionals } = parseArgs({ allowPositionals: true })
const [name, versionText, direction] = positionals
if (name === undefined) fail(USAGE)
const api = APIS.find((one) => one.name.toLowerCase() === name.toLowerCase())
if (api === undefined) fail(`no API ${name}; there are ${APIS.map((one) => one.name).join(', ')}`)
const version = versionText === undefined ? parseVersions(api.versions).max : Number(versionText)
if (!inVersions(version, api.versions)) fail(`${api.name} has the versions ${api.versions}`)
if (direction !== undefined && direction !== 'request' && direction !== 'response') fail(USAGE)

for (const one of ['request', 'response'] as const) {
  if (direction !== undefined && direction !== one) continue
  process.stdout.write(`// ${api.name} ${one}, version ${version}\n`)
  process.stdout.write(`${inLines(codecSource(api, one, version))}\n`)
}
