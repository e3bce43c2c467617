/** ElectLeaders: leaders by preference, or from outside the ISR (KIP-460). */
import type { ElectLeaders } from '../../protocol/messages/elect-leaders.ts'
import type { Handler, Services } from '../services.ts'

export function createElectLeadersHandler(
  services: Pick<Services, 'controller'>,
): Handler<typeof ElectLeaders> {
  return (request) => services.controller.electLeaders(request)
}
