/** kafka-clients 1.1 (Java) against the running broker. */
import { startJavaClient } from './java.ts'
import { modernTraits, testClient } from './scenario.ts'

const program = {
  set: 'kafka-clients-1.1',
  main: 'ModernClient',
  helpers: ['millis/Poll'],
} as const

testClient({
  ...modernTraits,
  name: 'java-1.1',
  needs: [program.set],
  codecs: ['none', 'gzip', 'snappy', 'lz4'],
  start: (bootstrap) => startJavaClient(program, [bootstrap]),
})
