/** kafka-clients 0.10.2 (Java) against the running broker. */
import { startJavaClient } from './java.ts'
import { modernTraits, testClient } from './scenario.ts'

const program = { set: 'kafka-clients-0.10.2', main: 'EarlyClient' } as const

testClient({
  ...modernTraits,
  name: 'java-0.10.2',
  needs: [program.set],
  codecs: ['none', 'gzip', 'snappy', 'lz4'],
  headers: { writes: 'none', reads: 'none' },
  start: (bootstrap) => startJavaClient(program, [bootstrap]),
})
