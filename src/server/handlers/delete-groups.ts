/** DeleteGroups: forgets groups without members, with their offsets. */
import type { DeleteGroups } from '../../protocol/messages/delete-groups.ts'
import type { Handler, Services } from '../services.ts'

export function createDeleteGroupsHandler({ groups }: Services): Handler<typeof DeleteGroups> {
  return async ({ groupsNames }) => ({
    throttleTimeMs: 0,
    results: await Promise.all(
      [...new Set(groupsNames)].map(async (groupId) => ({
        groupId,
        errorCode: await groups.deleteGroup(groupId),
      })),
    ),
  })
}
