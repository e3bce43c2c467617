/** The newest kafka-clients (Java) against the running broker. */
import { startJavaClient } from './java.ts'
import { modernTraits, testClient } from './scenario.ts'

testClient({
  ...modernTraits,
  name: 'java-newest',
  needs: ['kafka-clients-newest'],
  start: (bootstrap) => startJavaClient('kafka-clients-newest', 'ModernClient', bootstrap),
})
