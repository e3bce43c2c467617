/** SyncGroup: the leader brings the assignment of a generation, the others fetch theirs. */
import type { SyncGroup } from '../../protocol/messages/sync-group.ts'
import type { Handler, Services } from '../services.ts'

export function createSyncGroupHandler({ groups }: Services): Handler<typeof SyncGroup> {
  return (request) => groups.syncGroup(request)
}
