/** kafka-clients 3.9 (Java) against the running broker. */
import { startJavaClient } from './java.ts'
import { modernTraits, testClient } from './scenario.ts'

testClient({
  ...modernTraits,
  name: 'java-3.9',
  needs: ['kafka-clients-3.9'],
  start: (bootstrap) => startJavaClient('kafka-clients-3.9', 'ModernClient', bootstrap),
})
