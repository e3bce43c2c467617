/** SyncGroup: the leader brings the assignment of a generation, the others fetch theirs. */
import { ErrorCode } from '../../protocol/error-codes.ts'
import type { SyncGroup } from '../../protocol/messages/sync-group.ts'
import type { Handler, Services } from '../services.ts'

/** First version in which a member must say which protocol it means (KIP-559). */
const FIRST_NAMED_PROTOCOL = 5

export function createSyncGroupHandler({ groups }: Services): Handler<typeof SyncGroup> {
  return (request, context) => {
    const isNamed = request.protocolType !== null && request.protocolName !== null
    if (context.apiVersion >= FIRST_NAMED_PROTOCOL && !isNamed) {
      return { errorCode: ErrorCode.INCONSISTENT_GROUP_PROTOCOL, assignment: Buffer.alloc(0) }
    }
    return groups.syncGroup(request)
  }
}
