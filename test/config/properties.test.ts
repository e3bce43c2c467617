/** `.properties` files: what java.util.Properties reads from a text is what we read from it. */
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { ConfigError } from '../../src/config/define-config.ts'
import { readProperties } from '../../src/config/load-broker-config.ts'
import { runJava, skipOrFail } from '../support/java-program.ts'

const SEED = Number(process.env['SHARDLOG_SEED'] ?? Date.now() % 2 ** 31)
const TEXTS = 2000

function temporaryFile(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'shardlog-'))
  t.after(() => rmSync(folder, { recursive: true }))
  return join(folder, 'server.properties')
}

function ours(path: string, text: string): [string, string][] | null {
  writeFileSync(path, text)
  try {
    return [...readProperties(path)].sort(([a], [b]) => (a < b ? -1 : 1))
  } catch (error) {
    assert.ok(error instanceof ConfigError)
    return null
  }
}

function java(texts: readonly string[]): ([string, string][] | null)[] {
  const count = Buffer.alloc(4)
  count.writeInt32BE(texts.length)
  const parts = texts.flatMap((text) => {
    const bytes = Buffer.from(text)
    const length = Buffer.alloc(4)
    length.writeInt32BE(bytes.length)
    return [length, bytes]
  })
  const output = runJava('', 'ReadProperties.java', Buffer.concat([count, ...parts]))
  let at = 0
  const int32 = (): number => {
    at += 4
    return output.readInt32BE(at - 4)
  }
  const string = (): string => {
    const bytes = int32()
    at += bytes
    return output.toString('utf8', at - bytes, at)
  }
  return texts.map(() => {
    const pairs = int32()
    if (pairs < 0) return null
    return Array.from({ length: pairs }, (): [string, string] => [string(), string()])
  })
}

/**
 * A line of nothing but a backslash: Java takes what follows for a line of its own, the package
 * that we use for a continuation. No file is written like that, so such texts are left out.
 */
const LONE_BACKSLASH = /(^|[\r\n])[ \t\f]*\\([\r\n]|$)/

/** Texts made of what matters to the format. */
const anyText = fc
  .array(
    fc.constantFrom(
      ...[
        'a',
        'b.c',
        'log.dirs',
        '1',
        'é',
        '€',
        ' ',
        '\t',
        '\f',
        '=',
        ':',
        '#',
        '!',
        '\n',
        '\r',
        '\r\n',
      ],
      ...[
        '\\',
        '\\\\',
        '\\n',
        '\\t',
        '\\=',
        '\\:',
        '\\ ',
        '\\u0041',
        '\\u20ac',
        '\\\n',
        '\\\r\n  ',
        '\\x',
      ],
    ),
    { maxLength: 24 },
  )
  .map((parts) => parts.join(''))
  .filter((text) => !LONE_BACKSLASH.test(text))

test('random texts read as in java.util.Properties', (t) => {
  if (spawnSync('java', ['-version']).error) {
    skipOrFail(t, 'java is not here')
    return
  }
  const path = temporaryFile(t)
  const texts = fc.sample(anyText, { numRuns: TEXTS, seed: SEED })
  const expected = java(texts)
  for (const [i, text] of texts.entries()) {
    const what = `${JSON.stringify(text)}, SHARDLOG_SEED=${SEED}`
    assert.deepEqual(ours(path, text), expected[i], what)
  }
})

test('a file with comments, continuations and escapes', (t) => {
  const text = [
    '# a comment',
    '! another',
    'log.dirs = /data/a,\\',
    '    /data/b',
    'broker.rack: r\\u00e4ck',
    'listeners=PLAINTEXT://:9092',
    'empty',
    'twice=1',
    'twice=2',
  ].join('\n')
  assert.deepEqual(ours(temporaryFile(t), text), [
    ['broker.rack', 'räck'],
    ['empty', ''],
    ['listeners', 'PLAINTEXT://:9092'],
    ['log.dirs', '/data/a,/data/b'],
    ['twice', '2'],
  ])
})

test('a file that is not there is named', () => {
  assert.throws(
    () => readProperties('/nonexistent/server.properties'),
    /^ConfigError: cannot read \/nonexistent\/server.properties: ENOENT/,
  )
})
