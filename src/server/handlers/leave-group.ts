/** LeaveGroup: members leave their group for good. */
import type { LeaveGroup } from '../../protocol/messages/leave-group.ts'
import type { Handler, Services } from '../services.ts'

/** First version that takes several members. */
const FIRST_BATCHED = 3

export function createLeaveGroupHandler({ groups }: Services): Handler<typeof LeaveGroup> {
  return (request, context) => {
    if (context.apiVersion < FIRST_BATCHED) {
      const one = { memberId: request.memberId, groupInstanceId: null }
      const [errorCode, errors] = groups.leaveGroup(request.groupId, [one])
      return { errorCode: errorCode === 0 ? (errors[0] ?? 0) : errorCode, members: [] }
    }
    const [errorCode, errors] = groups.leaveGroup(request.groupId, request.members)
    if (errorCode !== 0) return { errorCode, members: [] }
    return {
      errorCode,
      members: request.members.map(({ memberId, groupInstanceId }, i) => ({
        memberId,
        groupInstanceId,
        errorCode: errors[i] as number,
      })),
    }
  }
}
