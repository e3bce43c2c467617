/** DescribeGroups: state and members of groups. */
import type { DescribeGroups } from '../../protocol/messages/describe-groups.ts'
import type { Handler, Services } from '../services.ts'
import { ALL_GROUP_OPERATIONS, OPERATIONS_NOT_ASKED } from './authorized-operations.ts'

export function createDescribeGroupsHandler({ groups }: Services): Handler<typeof DescribeGroups> {
  return (request) => ({
    groups: request.groups.map((groupId) => {
      const found = groups.describeGroup(groupId)
      return {
        errorCode: found.errorCode,
        groupId,
        groupState: found.errorCode === 0 ? found.state : '',
        protocolType: found.protocolType,
        protocolData: found.protocolName,
        members: found.members.map(({ metadata, assignment, ...member }) => ({
          ...member,
          memberMetadata: metadata,
          memberAssignment: assignment,
        })),
        authorizedOperations:
          request.includeAuthorizedOperations && found.errorCode === 0
            ? ALL_GROUP_OPERATIONS
            : OPERATIONS_NOT_ASKED,
      }
    }),
  })
}
