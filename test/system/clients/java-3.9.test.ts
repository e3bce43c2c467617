/** kafka-clients 3.9 (Java) against the running broker. */
import { startJavaClient } from './java.ts'
import { modernTraits, testClient } from './scenario.ts'

const program = {
  set: 'kafka-clients-3.9',
  main: 'ModernClient',
  helpers: ['duration/Poll'],
} as const

testClient({
  ...modernTraits,
  name: 'java-3.9',
  needs: [program.set],
  start: (bootstrap) => startJavaClient(program, [bootstrap]),
})
