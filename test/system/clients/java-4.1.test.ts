/** kafka-clients 4.1 (Java) against the running broker. */
import { startJavaClient } from './java.ts'
import { modernTraits, testClient } from './scenario.ts'

testClient({
  ...modernTraits,
  name: 'java-4.1',
  needs: ['kafka-clients-4.1'],
  start: (bootstrap) => startJavaClient('kafka-clients-4.1', 'ModernClient', bootstrap),
})
