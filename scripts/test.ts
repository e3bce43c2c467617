/**
 * Runs the tests: `node dist/scripts/test.js [part-of-a-path]...`. Node 20's runner takes every
 * script below a folder called `test` for a test, so the files are collected here and named.
 * Without arguments the native tests run first.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')
const wanted = process.argv.slice(2)

function run(command: string, args: readonly string[]): void {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit' })
  if (result.error) throw result.error
  if (result.status !== 0) process.exit(result.status ?? 1)
}

/**
 * The native tests: plain; with CI=true also under the sanitizers and as an arm64 program in qemu,
 * where a missing tool is a failure.
 */
function runNativeTests(): void {
  const targets = process.env['CI'] === 'true' ? ['plain', 'sanitize', 'arm64'] : ['plain']
  for (const target of targets) run('make', ['-s', '-C', 'native/test', target])
}

const tests = readdirSync(join(root, 'dist', 'test'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.test.js'))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)))
  .map((name) => join('dist', 'test', name))
  .sort()

if (wanted.length === 0) runNativeTests()
if (tests.length === 0) {
  process.stderr.write(`no test file matches ${wanted.join(' ')}\n`)
  process.exit(1)
}
run(process.execPath, ['--enable-source-maps', '--test', '--test-reporter=spec', ...tests])
