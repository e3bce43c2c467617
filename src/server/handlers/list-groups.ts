/** ListGroups: the groups that this broker coordinates. */
import type { ListGroups } from '../../protocol/messages/list-groups.ts'
import type { Handler, Services } from '../services.ts'

const CLASSIC = 'classic'

export function createListGroupsHandler({ groups }: Services): Handler<typeof ListGroups> {
  return ({ statesFilter, typesFilter }) => {
    const [errorCode, found] = groups.listGroups(statesFilter)
    if (errorCode !== 0) return { errorCode, groups: [] }
    const isWanted =
      typesFilter.length === 0 || typesFilter.some((type) => type.toLowerCase() === CLASSIC)
    return {
      errorCode,
      groups: (isWanted ? found : []).map(({ groupId, protocolType, state }) => ({
        groupId,
        protocolType,
        groupState: state,
        groupType: CLASSIC,
      })),
    }
  }
}
