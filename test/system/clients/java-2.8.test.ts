/** kafka-clients 2.8 (Java) against the running broker. */
import { startJavaClient } from './java.ts'
import { modernTraits, testClient } from './scenario.ts'

testClient({
  ...modernTraits,
  name: 'java-2.8',
  needs: ['kafka-clients-2.8'],
  start: (bootstrap) => startJavaClient('kafka-clients-2.8', 'ModernClient', bootstrap),
})
