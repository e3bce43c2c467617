/** The producer of kafkajs against the running broker; its consumer always needs a group. */
import { join } from 'node:path'
import { Driver } from '../../support/driver.ts'
import { peer } from '../../support/peers.ts'
import { modernTraits, testClient } from './scenario.ts'

testClient({
  ...modernTraits,
  name: 'kafkajs',
  needs: ['npm'],
  headers: { writes: 'no nulls', reads: 'none' },
  reads: false,
  start: (bootstrap) => {
    const program = join(import.meta.dirname, 'node', 'kafkajs.js')
    return new Driver(process.execPath, [program, peer('npm'), bootstrap])
  },
})
