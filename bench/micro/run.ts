/** Runs the micro-benchmarks: `npm run bench:micro -- [name...]`, all of them without names. */
import { describeMachine, machineLine } from '../machine.ts'
import { compressionSuite } from './compression.bench.ts'
import { crc32cSuite } from './crc32c.bench.ts'
import { protocolSuite } from './protocol.bench.ts'
import { purgatorySuite } from './purgatory.bench.ts'
import { replicaFetchSuite } from './replica-fetch.bench.ts'
import { roundTripSuite } from './round-trip.bench.ts'
import { runSuite, type Suite } from './suite.ts'

const suites: Readonly<Record<string, readonly Suite[]>> = {
  crc32c: [crc32cSuite],
  protocol: [protocolSuite],
  compression: [compressionSuite],
  purgatory: [purgatorySuite],
  'replica-fetch': [replicaFetchSuite],
  'round-trip': [roundTripSuite(0), roundTripSuite(1)],
}

async function main(): Promise<void> {
  const names = process.argv.slice(2)
  const unknown = names.filter((name) => suites[name] === undefined)
  if (unknown.length > 0) {
    const known = Object.keys(suites).join(', ')
    throw new Error(`no such benchmark: ${unknown.join(', ')}; there are ${known}`)
  }
  process.stdout.write(`${machineLine(describeMachine())}\n`)
  for (const name of names.length > 0 ? names : Object.keys(suites)) {
    for (const suite of suites[name] ?? []) await runSuite(suite)
  }
}

await main()
