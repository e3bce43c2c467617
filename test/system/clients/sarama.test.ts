/** sarama against the running broker. */
import { join } from 'node:path'
import { Driver } from '../../support/driver.ts'
import { peer } from '../../support/peers.ts'
import { modernTraits, testClient } from './scenario.ts'

testClient({
  ...modernTraits,
  name: 'sarama',
  needs: ['go'],
  start: (bootstrap) => new Driver(join(peer('go'), 'sarama'), [bootstrap]),
})
