/**
 * What `npm install` runs: uses the add-on that came with the package when this machine can load
 * it, and builds it otherwise. Plain JavaScript with `node:` imports only.
 */
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..')
const prebuilt = join(root, 'prebuilds', `${process.platform}-${process.arch}`, 'shardlog.node')

function loads(path) {
  if (!existsSync(path)) return false
  try {
    createRequire(import.meta.url)(path)
    return true
  } catch (error) {
    process.stderr.write(`shardlog: the add-on that came along does not fit: ${error.message}\n`)
    return false
  }
}

if (!loads(prebuilt)) {
  const built = spawnSync('node-gyp', ['rebuild', '--silent'], { cwd: root, stdio: 'inherit' })
  if (built.error) process.stderr.write(`shardlog: node-gyp: ${built.error.message}\n`)
  process.exit(built.status ?? 1)
}
