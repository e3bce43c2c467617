/** What a broker alone has instead of connections to others: nobody is there to be reached. */
import type { ClusterLinks } from './cluster-member.ts'

const isAlone = (): Promise<never> => Promise.reject(new Error('this broker is alone'))

export const noLinks: ClusterLinks = {
  toBroker: isAlone,
  toController: isAlone,
  probe: () => Promise.resolve(false),
  resolve: () => Promise.resolve([]),
}
