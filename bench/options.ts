/** Command line of the end-to-end benchmark. */
import { parseArgs } from 'node:util'

export const SCENARIOS = [
  'start',
  'produce-1k-1m',
  'produce-1k-16k',
  'produce-100-1m',
  'produce-100-16k',
  'single',
  'consume-1k-1m',
  'consume-1k-16k',
  'consume-100-1m',
  'latency',
  'memory',
] as const

export type ScenarioName = (typeof SCENARIOS)[number]

export const USAGE = `usage: npm run bench -- [options]
  --scenario A,B       what to run: ${SCENARIOS.join(', ')} (all)
  --shards A,B         variants of this broker, by their number of shards (1)
  --no-kafka           without Apache Kafka 3.9.1
  --rounds N           measured rounds, alternating between the brokers (3)
  --bytes N            record bytes of a round with 1 KiB records; a quarter with 100 B (1000000000)
  --requests N         records of a round with one record per request (100000)
  --seconds N          length of a latency round (10)
  --partitions N       (8)
  --connections N      producers, each with a connection of its own (1)
  --acks N             -1, 0 or 1 (-1)
  --segment-bytes N    log.segment.bytes of both brokers (1073741824)
  --data DIR           where both keep their data (a new folder below the temporary one)
  --prime-bytes N      page cache touched beforehand (3000000000)
  --warm-up-bytes N    produced in 16 KiB batches and consumed before the first round (2000000000)
  --quick              2 rounds of a quarter of all the above
`

export interface Options {
  readonly scenarios: ReadonlySet<ScenarioName>
  readonly shards: readonly number[]
  readonly kafka: boolean
  readonly rounds: number
  readonly bytes: number
  readonly requests: number
  readonly seconds: number
  readonly partitions: number
  readonly connections: number
  readonly acks: number
  readonly segmentBytes: number
  readonly data: string | null
  readonly primeBytes: number
  readonly warmUpBytes: number
}

export interface NumberOption {
  readonly name: string
  /** As given, undefined if it was not. */
  readonly text: string | undefined
  readonly otherwise: number
  readonly low: number
  readonly high: number
}

/** Throws an Error that names the option when it is no whole number in its range. */
export function wholeNumber({ name, text, otherwise, low, high }: NumberOption): number {
  const value = text === undefined ? otherwise : Number(text)
  if (!Number.isInteger(value) || value < low || value > high) {
    throw new Error(`--${name}: ${text} is not a whole number from ${low} to ${high}`)
  }
  return value
}

/** Those of a list by commas, all if it is undefined. Throws an Error on another name. */
export function scenariosOf<N extends string>(
  text: string | undefined,
  all: readonly N[],
): ReadonlySet<N> {
  const given = text?.split(',').map((wanted) => {
    const found = all.find((name) => name === wanted)
    if (found === undefined) throw new Error(`--scenario: ${wanted} is none of ${all.join(', ')}`)
    return found
  })
  return new Set(given ?? all)
}

type Range = Pick<NumberOption, 'low' | 'high'>

/** Throws an Error that names the option when a value is not allowed; null when help is wanted. */
export function parseOptions(args: readonly string[]): Options | null {
  const string = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      scenario: string,
      shards: string,
      'no-kafka': { type: 'boolean' },
      rounds: string,
      bytes: string,
      requests: string,
      seconds: string,
      partitions: string,
      connections: string,
      acks: string,
      'segment-bytes': string,
      data: string,
      'prime-bytes': string,
      'warm-up-bytes': string,
      quick: { type: 'boolean' },
      help: { type: 'boolean' },
    },
  })
  if (values.help) return null
  const share = values.quick ? 4 : 1
  const number = (name: string, text: string | undefined, otherwise: number, range: Range) =>
    wholeNumber({ name, text, otherwise, ...range })
  return {
    scenarios: scenariosOf(values.scenario, SCENARIOS),
    shards: (values.shards ?? '1')
      .split(',')
      .map((text) => number('shards', text, 1, { low: 0, high: 64 })),
    kafka: !values['no-kafka'],
    rounds: number('rounds', values.rounds, values.quick ? 2 : 3, { low: 1, high: 100 }),
    bytes: number('bytes', values.bytes, 1e9 / share, { low: 1e6, high: 1e12 }),
    requests: number('requests', values.requests, 1e5 / share, { low: 100, high: 1e9 }),
    seconds: number('seconds', values.seconds, Math.ceil(10 / share), { low: 1, high: 3600 }),
    partitions: number('partitions', values.partitions, 8, { low: 1, high: 4096 }),
    connections: number('connections', values.connections, 1, { low: 1, high: 64 }),
    acks: number('acks', values.acks, -1, { low: -1, high: 1 }),
    segmentBytes: number('segment-bytes', values['segment-bytes'], 1 << 30, {
      low: 1 << 20,
      high: 2 ** 31 - 1,
    }),
    data: values.data ?? null,
    primeBytes: number('prime-bytes', values['prime-bytes'], 3e9 / share, { low: 0, high: 1e12 }),
    warmUpBytes: number('warm-up-bytes', values['warm-up-bytes'], 2e9 / share, {
      low: 1e6,
      high: 1e12,
    }),
  }
}
