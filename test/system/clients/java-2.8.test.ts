/** kafka-clients 2.8 (Java) against the running broker. */
import { startJavaClient } from './java.ts'
import { modernTraits, testClient } from './scenario.ts'

const program = {
  set: 'kafka-clients-2.8',
  main: 'ModernClient',
  helpers: ['duration/Poll'],
} as const

testClient({
  ...modernTraits,
  name: 'java-2.8',
  needs: [program.set],
  start: (bootstrap) => startJavaClient(program, [bootstrap]),
})
