/** JoinGroup: a member asks to take part in the next generation of its group. */
import type { JoinGroup } from '../../protocol/messages/join-group.ts'
import { clientOf } from '../client-identity.ts'
import type { Handler, Services } from '../services.ts'

const FIRST_REBALANCE_TIMEOUT = 1
/** KIP-394. */
const FIRST_REQUIRED_MEMBER_ID = 4
const FIRST_NULLABLE_PROTOCOL = 7
/** KIP-814. */
const FIRST_SKIPPED_ASSIGNMENT = 9

export function createJoinGroupHandler({ groups }: Services): Handler<typeof JoinGroup> {
  return async (request, context) => {
    const { apiVersion: version } = context
    const result = await groups.joinGroup(
      {
        ...request,
        rebalanceTimeoutMs:
          version < FIRST_REBALANCE_TIMEOUT ? request.sessionTimeoutMs : request.rebalanceTimeoutMs,
      },
      clientOf(context),
      {
        requiresKnownMemberId: version >= FIRST_REQUIRED_MEMBER_ID,
        skipsAssignment: version >= FIRST_SKIPPED_ASSIGNMENT,
      },
    )
    const protocolName =
      version >= FIRST_NULLABLE_PROTOCOL ? result.protocolName : (result.protocolName ?? '')
    return { ...result, protocolName }
  }
}
