/** Command lines as Apache's tools take them, and the hints of errors. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { nearestName } from '../../src/cli/kit/nearest-name.ts'
import { checkRequired, parseOptions, UsageError } from '../../src/cli/kit/options.ts'

const table = {
  topic: { argument: 'topic', help: '' },
  'topic-id': { argument: 'id', help: '' },
  partitions: { argument: 'count', help: '' },
  config: { argument: 'key=value', help: '', repeatable: true },
  list: { help: '' },
  state: { argument: 'state', argumentOptional: true, help: '' },
  props: { argument: 'key=value', help: '', variadic: true },
  'shift-by': { argument: 'n', help: '' },
  json: { help: '', own: true },
  help: { help: '', letter: 'h' },
} as const

const parse = (line: string, positionals: readonly string[] = []) =>
  parseOptions(table, line === '' ? [] : line.split(' '), { positionals })

test('values come behind a blank or an equals sign, with one dash or two', () => {
  for (const line of [
    '--topic a --list',
    '--topic=a --list',
    '-topic a -list',
    '--list --topic a',
  ]) {
    const options = parse(line)
    assert.equal(options.value('topic'), 'a', line)
    assert.ok(options.has('list'), line)
  }
  assert.equal(parse('--topic=a=b').value('topic'), 'a=b')
  assert.equal(parse('--shift-by -2').integer('shift-by'), -2)
  assert.ok(parse('-h').has('help'))
})

test('abbreviations are right as long as they fit one of Apache’s names', () => {
  assert.equal(parse('--part 3').integer('partitions'), 3)
  assert.equal(parse('--topic a').value('topic-id'), undefined)
  assert.throws(() => parse('--to a'), /--to is ambiguous; it may be --topic, --topic-id/)
  // An option of ours does not take an abbreviation away.
  assert.throws(() => parse('--js'), /unknown option --js/)
})

test('options repeat where they may, and take several words where they may', () => {
  assert.deepEqual(parse('--config a=1 --config b=2').values('config'), ['a=1', 'b=2'])
  assert.throws(() => parse('--topic a --topic b'), /--topic is given twice/)
  const options = parse('--props a=1 b=2 --list')
  assert.deepEqual(options.values('props'), ['a=1', 'b=2'])
  assert.ok(options.has('list'))
})

test('a value may be optional', () => {
  assert.equal(parse('--state --list').value('state'), undefined)
  assert.ok(parse('--state').has('state'))
  assert.equal(parse('--state Empty').value('state'), 'Empty')
})

test('errors name what is wrong and what was probably meant', () => {
  assert.throws(
    () => parse('--topc a'),
    new UsageError('unknown option --topc', 'did you mean --topic?'),
  )
  assert.throws(() => parse('--topic'), /--topic requires a value \(topic\)/)
  assert.throws(() => parse('--topic --list'), /--topic requires a value/)
  assert.throws(() => parse('--list=x'), /--list takes no value/)
  assert.throws(() => parse('stray'), /unexpected argument "stray"/)
  assert.throws(() => parse('--partitions x').integer('partitions'), /a whole number, not "x"/)
  assert.throws(
    () => parse('--partitions 0').integer('partitions', { min: 1 }),
    /at least 1, not 0/,
  )
  assert.throws(() => parse('').required('topic'), /--topic is required/)
  assert.throws(() => parse('--topic a --list').exactlyOne('topic', 'list'), /exclude each other/)
  assert.throws(() => parse('').exactlyOne('topic', 'list'), /one of --topic, --list is required/)
  assert.throws(
    () => checkRequired({ a: { help: '', argument: 'x', required: true } }, parse('')),
    /--a is required/,
  )
})

test('positional arguments are taken where a tool has them', () => {
  assert.deepEqual(parse('a -1 b --list', ['x', 'y', 'z']).positionals, ['a', '-1', 'b'])
  assert.deepEqual(parse('-- --list', ['rest...']).positionals, ['--list'])
  assert.throws(() => parse('a b', ['x']), /unexpected argument "b"/)
})

test('the order of the command line is kept', () => {
  const { sequence } = parse('--config a=1 --list --config b=2')
  assert.deepEqual(sequence, [
    { name: 'config', value: 'a=1' },
    { name: 'list', value: undefined },
    { name: 'config', value: 'b=2' },
  ])
})

test('no words make the parser throw anything but a UsageError', () => {
  const word = fc.oneof(
    fc.constantFrom(...Object.keys(table).map((name) => `--${name}`), '--', '-', '--=', '-1'),
    fc.string(),
  )
  fc.assert(
    fc.property(fc.array(word), (words) => {
      try {
        parseOptions(table, words, { positionals: ['rest...'] })
      } catch (error) {
        assert.ok(error instanceof UsageError)
        assert.ok(!error.message.includes('undefined'))
      }
    }),
  )
})

test('the nearest name is one with few differences, or none', () => {
  const names = ['retention.ms', 'retention.bytes', 'segment.ms', 'cleanup.policy']
  assert.equal(nearestName('retentio.ms', names), 'retention.ms')
  assert.equal(nearestName('retnetion.ms', names), 'retention.ms')
  assert.equal(nearestName('cleanup_policy', names), 'cleanup.policy')
  assert.equal(nearestName('zzz', names), null)
  assert.equal(nearestName('x'.repeat(10_000), names), null)
})
