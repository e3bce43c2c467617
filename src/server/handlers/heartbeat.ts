/** Heartbeat: a member is alive. */
import type { Heartbeat } from '../../protocol/messages/heartbeat.ts'
import type { Handler, Services } from '../services.ts'

export function createHeartbeatHandler({ groups }: Services): Handler<typeof Heartbeat> {
  return (request) => ({ errorCode: groups.heartbeat(request) })
}
