/** kafka-clients 1.1 (Java) against the running broker. */
import { startJavaClient } from './java.ts'
import { modernTraits, testClient } from './scenario.ts'

testClient({
  ...modernTraits,
  name: 'java-1.1',
  needs: ['kafka-clients-1.1'],
  codecs: ['none', 'gzip', 'snappy', 'lz4'],
  headers: { writes: 'none', reads: 'none' },
  start: (bootstrap) => startJavaClient('kafka-clients-1.1', 'EarlyClient', bootstrap),
})
