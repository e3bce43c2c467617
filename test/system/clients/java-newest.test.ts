/** The newest kafka-clients (Java) against the running broker. */
import { startJavaClient } from './java.ts'
import { modernTraits, testClient } from './scenario.ts'

const program = {
  set: 'kafka-clients-newest',
  main: 'ModernClient',
  helpers: ['duration/Poll'],
} as const

testClient({
  ...modernTraits,
  name: 'java-newest',
  needs: [program.set],
  start: (bootstrap) => startJavaClient(program, [bootstrap]),
})
