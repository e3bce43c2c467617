/** kafka-clients 4.1 (Java) against the running broker. */
import { startJavaClient } from './java.ts'
import { modernTraits, testClient } from './scenario.ts'

const program = {
  set: 'kafka-clients-4.1',
  main: 'ModernClient',
  helpers: ['duration/Poll'],
} as const

testClient({
  ...modernTraits,
  name: 'java-4.1',
  needs: [program.set],
  start: (bootstrap) => startJavaClient(program, [bootstrap]),
})
