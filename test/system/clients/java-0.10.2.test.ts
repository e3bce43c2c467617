/** kafka-clients 0.10.2 (Java) against the running broker. */
import { startJavaClient } from './java.ts'
import { modernTraits, testClient } from './scenario.ts'

testClient({
  ...modernTraits,
  name: 'java-0.10.2',
  needs: ['kafka-clients-0.10.2'],
  codecs: ['none', 'gzip', 'snappy', 'lz4'],
  headers: { writes: 'none', reads: 'none' },
  start: (bootstrap) => startJavaClient('kafka-clients-0.10.2', 'EarlyClient', bootstrap),
})
