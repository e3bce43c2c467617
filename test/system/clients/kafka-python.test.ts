/** kafka-python against the running broker. */
import { join } from 'node:path'
import { Driver } from '../../support/driver.ts'
import { peer } from '../../support/peers.ts'
import { clientSources, modernTraits, testClient } from './scenario.ts'

testClient({
  ...modernTraits,
  name: 'kafka-python',
  headers: { writes: 'no nulls', reads: 'any' },
  needs: ['python'],
  start: (bootstrap) =>
    new Driver(peer('python'), ['-B', join(clientSources, 'python', 'kafka_python.py'), bootstrap]),
})
