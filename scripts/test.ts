/**
 * Runs the tests: `node dist/scripts/test.js [part-of-a-path]...`. Node 20's runner takes every
 * script below a folder called `test` for a test, so the files are collected here and named.
 * Without arguments the native tests run first, and a table of the slowest files comes last when
 * all is well.
 */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, relative } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'

const FILES_AT_ONCE = availableParallelism()
/** A file that hangs fails, and the others go on. The longest takes about three minutes. */
const FILE_TIMEOUT_MS = 15 * 60_000
const SLOWEST_SHOWN = 20

const root = join(import.meta.dirname, '..', '..')
const wanted = process.argv.slice(2)

/**
 * The native tests: plain; with CI=true also under the sanitizers and as an arm64 program in qemu,
 * where a missing tool is a failure.
 */
function runNativeTests(): void {
  const targets = process.env['CI'] === 'true' ? ['plain', 'sanitize', 'arm64'] : ['plain']
  for (const target of targets) {
    const result = spawnSync('make', ['-s', '-C', 'native/test', target], {
      cwd: root,
      stdio: 'inherit',
    })
    if (result.error) throw result.error
    if (result.status !== 0) process.exit(result.status ?? 1)
  }
}

/** Where a file stands in the queue: those that take minutes first, so that none is left alone. */
function urgency(path: string): number {
  const long = ['test/system/', 'test/cli/', 'test/checker/']
  return long.some((folder) => path.includes(folder)) ? 0 : 1
}

const tests = readdirSync(join(root, 'dist', 'test'), { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.test.js'))
  .filter((name) => wanted.length === 0 || wanted.some((part) => name.includes(part)))
  .map((name) => join(root, 'dist', 'test', name))
  .sort()
  .sort((a, b) => urgency(a) - urgency(b))

if (wanted.length === 0) runNativeTests()
if (tests.length === 0) {
  process.stderr.write(`no test file matches ${wanted.join(' ')}\n`)
  process.exit(1)
}

const seconds = new Map<string, number>()
function ended(file: string | undefined, durationMs: number, nesting: number): void {
  if (file === undefined || nesting > 0) return
  const name = relative(root, file)
  seconds.set(name, (seconds.get(name) ?? 0) + durationMs / 1000)
}

process.chdir(root)
// The files' processes are given the options of this one.
process.execArgv.push('--enable-source-maps')
const events = run({ files: tests, concurrency: FILES_AT_ONCE, timeout: FILE_TIMEOUT_MS })
events.on('test:pass', ({ file, details, nesting }) => ended(file, details.duration_ms, nesting))
events.on('test:fail', ({ file, details, nesting, todo }) => {
  if (todo === undefined || todo === false) process.exitCode = 1
  ended(file, details.duration_ms, nesting)
})
const shown = events.compose(new spec())
shown.pipe(process.stdout)
shown.on('end', () => {
  // Failures are what a failed run ends with.
  if (wanted.length === 0 && process.exitCode !== 1) {
    const slowest = [...seconds].sort((a, b) => b[1] - a[1]).slice(0, SLOWEST_SHOWN)
    const lines = slowest.map(([name, took]) => `${took.toFixed(1).padStart(7)} s  ${name}\n`)
    process.stdout.write(`\nthe slowest files:\n${lines.join('')}`)
  }
  // What a file that hung has left running still holds this process's pipes.
  process.stdout.write('', () => process.exit())
})
