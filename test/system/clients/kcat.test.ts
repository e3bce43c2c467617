/** kcat against the running broker. */
import { peer } from '../../support/peers.ts'
import { Kcat } from './kcat.ts'
import { modernTraits, testClient } from './scenario.ts'

testClient({
  ...modernTraits,
  name: 'kcat',
  needs: ['kcat'],
  headers: { writes: 'text', reads: 'text' },
  timestamps: 'own',
  start: (bootstrap) => new Kcat(peer('kcat'), bootstrap),
})
