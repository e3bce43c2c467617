/**
 * Brings a checkout to the state that `npm start` and `npm test` need, and does nothing that is
 * already done: packages, compiled TypeScript, the compiled add-on. Plain JavaScript with `node:`
 * imports only, because it runs before anything is installed. Prints to standard error.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = join(dirname(fileURLToPath(import.meta.url)), '..')

function fail(message) {
  process.stderr.write(`shardlog setup: ${message}\n`)
  process.exit(1)
}

function run(what, command, args) {
  process.stderr.write(`shardlog setup: ${what}\n`)
  const env = { ...process.env }
  const include = join(dirname(process.execPath), '..', 'include', 'node', 'node_api.h')
  // Headers beside the running Node spare node-gyp a download.
  if (existsSync(include)) env.npm_config_nodedir ??= join(dirname(process.execPath), '..')
  const result = spawnSync(command, args, { cwd: root, env, stdio: ['ignore', 2, 2] })
  if (result.error) fail(`${what}: ${result.error.message}`)
  if (result.status !== 0) fail(`${what} failed (${command} ${args.join(' ')})`)
}

/** The newest modification time, in ms, of the files below `paths`; 0 when there are none. */
function newest(...paths) {
  let latest = 0
  for (const path of paths) {
    if (!existsSync(path)) continue
    const stat = statSync(path)
    if (stat.isDirectory()) {
      for (const name of readdirSync(path)) latest = Math.max(latest, newest(join(path, name)))
    } else {
      latest = Math.max(latest, stat.mtimeMs)
    }
  }
  return latest
}

const at = (...names) => join(root, ...names)

const [major, minor] = process.versions.node.split('.').map(Number)
if (major < 20 || (major === 20 && minor < 19)) {
  fail(`Node ${process.versions.node} is too old; install Node 20.19 or newer`)
}
if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) {
  fail(`${process.platform}-${process.arch} is not supported; shardlog runs on Linux x64 and arm64`)
}

const installed = at('node_modules', '.package-lock.json')
if (newest(installed) < newest(at('package-lock.json'), at('package.json'))) {
  run('installing packages', 'npm', [
    'install',
    '--no-save',
    '--no-audit',
    '--no-fund',
    '--include=dev',
  ])
  if (existsSync(installed)) writeFileSync(installed, readFileSync(installed), { flag: 'r+' })
}
if (newest(at('build', 'Release', 'shardlog.node')) < newest(at('native'), at('binding.gyp'))) {
  run('building the add-on', at('node_modules', '.bin', 'node-gyp'), ['rebuild', '--silent'])
}
if (
  newest(at('dist', '.tsbuildinfo')) <
  newest(at('src'), at('test'), at('examples'), at('scripts'), at('bench'), at('tsconfig.json'))
) {
  run('compiling TypeScript', at('node_modules', '.bin', 'tsc'), ['-p', root])
}

// Continuous integration tests against real clients and brokers; elsewhere their tests skip.
if (process.env.CI === 'true' && process.env.npm_lifecycle_event === 'pretest') {
  run('installing the clients and brokers to test with', process.execPath, [
    at('dist', 'scripts', 'peers.js'),
    '--install',
  ])
}
