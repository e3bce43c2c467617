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
  process.stdout.write(codecSource(api, one, version))
}
