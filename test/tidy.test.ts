/**
 * The rules of the house that a machine can check: which room may import which, how files are
 * named, that generated pages are up to date, and what must not be in a file at all.
 */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { test } from 'node:test'
import { generatedPages } from '../scripts/docs.ts'

const root = join(import.meta.dirname, '..', '..')

/** Tracked and new files; null outside of a git checkout (a published package, say). */
const files = ((): readonly string[] | null => {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard']
  const listed = spawnSync('git', args, { cwd: root, encoding: 'utf8' })
  if (listed.error || listed.status !== 0) return null
  const deleted = spawnSync('git', ['ls-files', '--deleted'], { cwd: root, encoding: 'utf8' })
  const gone = new Set(deleted.stdout.split('\n'))
  return listed.stdout.split('\n').filter((name) => name !== '' && !gone.has(name))
})()

function filesBelow(folder: string, ...endings: readonly string[]): readonly string[] {
  return (files ?? []).filter(
    (name) => name.startsWith(folder) && endings.some((ending) => name.endsWith(ending)),
  )
}

function textOf(name: string): string {
  return readFileSync(join(root, name), 'utf8')
}

/**
 * What a room may import: a room, one file of a room (`log/slow-lane`), or only types of either
 * (`type native/addon`). A change here is a change of the design: see docs/adr/0001-rooms.md.
 */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  util: [],
  config: ['util'],
  protocol: ['util'],
  native: ['util'],
  compression: ['native', 'util'],
  metrics: ['util'],
  log: ['compression', 'native', 'protocol', 'config', 'util'],
  shard: ['log/segment-cleaner', 'log/slow-lane', 'native', 'compression', 'config', 'util'],
  registry: ['config', 'util'],
  security: ['protocol', 'config', 'util'],
  network: ['protocol', 'security', 'native', 'metrics', 'config', 'util'],
  client: [
    ...['log/record-format', 'log/record-cursor', 'native', 'compression', 'protocol'],
    ...['security', 'config', 'util'],
  ],
  metadata: ['util'],
  replica: [
    ...['log/checkpoint-file', 'log/log-settings', 'type log/data-directory'],
    ...['type log/segment-cleaner', 'type native/addon'],
    ...['shard', 'network', 'client', 'metadata', 'protocol', 'metrics', 'config', 'util'],
  ],
  group: [
    ...['log/record-format', 'log/record-cursor', 'replica', 'metadata', 'protocol'],
    ...['metrics', 'config', 'util'],
  ],
  transaction: [
    ...['replica', 'client', 'metadata', 'registry', 'protocol', 'metrics', 'config', 'util'],
  ],
  controller: ['registry', 'client', 'metadata', 'protocol', 'metrics', 'config', 'util'],
  server: [
    ...['native/addon', 'log/slow-lane', 'compression/errors', 'network', 'security', 'client'],
    ...['metadata', 'replica', 'group', 'transaction', 'controller', 'registry', 'protocol'],
    ...['metrics', 'config', 'util'],
  ],
  cli: [
    ...['group/record-schemas', 'client', 'native', 'compression', 'log', 'protocol'],
    ...['config', 'registry', 'util'],
  ],
}

/** Entry points and wiring: files directly in `src/`, which may import every room. */
const WIRING = /^src\/[a-z-]+\.ts$/

/** Packages, and the only rooms that may import them. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  pino: ['util'],
  'properties-file': ['config', 'log'],
  piscina: ['shard'],
  'lz4-napi': ['compression'],
  snappy: ['compression'],
  'zstd-napi': ['compression'],
  zookeeper: ['registry'],
}

interface Import {
  readonly specifier: string
  readonly typeOnly: boolean
}

function importsOf(text: string): Import[] {
  const found: Import[] = []
  for (const match of text.matchAll(/^(?:import|export)\s+(type\s)?[^'"]*?from\s+'([^']+)'/gm)) {
    found.push({ specifier: match[2] as string, typeOnly: match[1] !== undefined })
  }
  for (const match of text.matchAll(/\b(?:import|require|new URL)\('([^']+)'/g)) {
    found.push({ specifier: match[1] as string, typeOnly: false })
  }
  for (const match of text.matchAll(/^import\s+'([^']+)'/gm)) {
    found.push({ specifier: match[1] as string, typeOnly: false })
  }
  return found
}

function wrongImport(name: string, { specifier, typeOnly }: Import): string | null {
  if (specifier.startsWith('node:')) return null
  const room = name.split('/')[1] as string
  if (!specifier.startsWith('.')) {
    const base = specifier.split('/')[0] as string
    if (PACKAGES[base]?.includes(room)) return null
    return `package ${specifier}`
  }
  const target = normalize(join(dirname(name), specifier))
  if (target.endsWith('.node')) return room === 'native' ? null : specifier
  if (WIRING.test(name)) return null
  const place = relative('src', target).replace(/\.[jt]s$/, '')
  const targetRoom = place.split('/')[0] as string
  if (targetRoom === room) return null
  const allowed = ROOMS[room] ?? []
  if (allowed.includes(targetRoom) || allowed.includes(place)) return null
  if (typeOnly && allowed.includes(`type ${place}`)) return null
  return place
}

const skip = files === null ? 'not a git checkout' : false

test('a room imports only the rooms below it, and packages only through their doors', {
  skip,
}, () => {
  const wrong: string[] = []
  for (const name of filesBelow('src/', '.ts')) {
    const room = name.split('/')[1] as string
    if (!WIRING.test(name) && ROOMS[room] === undefined) wrong.push(`${name}: unknown room`)
    for (const one of importsOf(textOf(name))) {
      const what = wrongImport(name, one)
      if (what !== null) wrong.push(`${name} imports ${what}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('the table of rooms has no cycle', () => {
  const roomsOf = (room: string): readonly string[] =>
    (ROOMS[room] as readonly string[]).map(
      (entry) => entry.replace('type ', '').split('/')[0] as string,
    )
  const visit = (room: string, path: readonly string[]): void => {
    assert.ok(!path.includes(room), [...path, room].join(' -> '))
    for (const next of roomsOf(room)) visit(next, [...path, room])
  }
  for (const room of Object.keys(ROOMS)) visit(room, [])
})

test('files are named in kebab-case, C++ ones in snake_case', { skip }, () => {
  // A dot within a version (java-0.8.2) is no end of a name.
  const kebab = /^[a-z0-9]+((-|\.(?=\d))[a-z0-9]+)*(\.(test|property\.test|bench))?\.(ts|mjs)$/
  const snake = /^[a-z0-9]+(_[a-z0-9]+)*\.(cc|h)$/
  const baseOf = (name: string): string => name.split('/').at(-1) as string
  const folders = ['src/', 'test/', 'bench/', 'scripts/']
  const typescript = folders.flatMap((folder) => filesBelow(folder, '.ts', '.mjs'))
  assert.deepEqual(
    typescript.filter((name) => !kebab.test(baseOf(name))),
    [],
  )
  assert.deepEqual(
    filesBelow('native/', '.cc', '.h').filter((name) => !snake.test(baseOf(name))),
    [],
  )
})

/** What no file of ours may hold, put together here so that this file does not hold it either. */
const BANNED: readonly { readonly what: string; readonly pattern: RegExp; readonly in: RegExp }[] =
  [
    { what: 'console', pattern: /\bconsole\.\w/, in: /^(src|scripts)\/.*\.(ts|mjs)$/ },
    {
      what: 'an unfinished part',
      pattern: new RegExp('\\b(TO' + 'DO|FIX' + 'ME)\\b'),
      in: /./,
    },
    { what: 'a path of one machine', pattern: new RegExp('/(work|home|Users)/' + '\\w'), in: /./ },
    { what: 'process.env', pattern: /\bprocess\.env\b/, in: /^src\/(?!config\/).*\.ts$/ },
    { what: 'a default export', pattern: /^export default\b/m, in: /\.ts$/ },
    {
      what: 'an import without .ts',
      pattern: /from '\.{1,2}\/[^']*(?<!\.ts)'/,
      in: /^(src|test|bench|scripts)\/.*\.ts$/,
    },
  ]

test('no file holds what none should', { skip }, () => {
  const texts = /\.(ts|mjs|cc|h|java|py|go|md|json|properties|gyp|yml)$|(^|\/)(Makefile|run)$/
  const wrong: string[] = []
  for (const name of (files ?? []).filter((one) => texts.test(one))) {
    if (name === 'package-lock.json') continue
    const text = textOf(name)
    for (const { what, pattern, in: where } of BANNED) {
      const found = where.test(name) ? pattern.exec(text) : null
      if (found !== null) wrong.push(`${name} holds ${what}: ${found[0]}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('every room has its page', { skip }, () => {
  const rooms = new Set(filesBelow('src/', '.ts').map((name) => name.split('/')[1] as string))
  const pages = filesBelow('docs/internals/', '.md').map((name) => name.split('/')[2])
  const missing = [...rooms]
    .filter((room) => !room.endsWith('.ts'))
    .filter((room) => !pages.includes(`${room}.md`))
  assert.deepEqual(missing, [])
})

test('links between the pages lead somewhere', { skip }, () => {
  const known = new Set(files)
  const wrong: string[] = []
  for (const name of filesBelow('', '.md')) {
    for (const [, target] of textOf(name).matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)) {
      const path = normalize(join(dirname(name), target as string)).replace(/\/$/, '')
      const leads = known.has(path) || (files ?? []).some((one) => one.startsWith(`${path}/`))
      if (!leads) wrong.push(`${name} links to ${target}`)
    }
  }
  assert.deepEqual(wrong, [])
})

test('generated pages are up to date', { skip }, async () => {
  for (const [name, text] of await generatedPages()) {
    assert.ok(files?.includes(name), `${name} is missing: npm run docs`)
    assert.equal(textOf(name), text, `${name} is out of date: npm run docs`)
  }
})
