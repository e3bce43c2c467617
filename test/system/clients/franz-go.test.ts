/** franz-go against the running broker; the reference for it is itself in another process. */
import { join } from 'node:path'
import { Driver } from '../../support/driver.ts'
import { peer } from '../../support/peers.ts'
import { modernTraits, testClient } from './scenario.ts'

testClient({
  ...modernTraits,
  name: 'franz-go',
  needs: ['go'],
  start: (bootstrap) => new Driver(join(peer('go'), 'franz'), [bootstrap]),
})
