/** OffsetDelete: forgets offsets of topics that a group does not read any more (KIP-496). */
import type { OffsetDelete } from '../../protocol/messages/offset-delete.ts'
import type { Handler, Services } from '../services.ts'

export function createOffsetDeleteHandler({ groups }: Services): Handler<typeof OffsetDelete> {
  return async ({ groupId, topics }) => {
    const [errorCode, errors] = await groups.deleteOffsets(
      groupId,
      topics.flatMap(({ name, partitions }) =>
        partitions.map(({ partitionIndex }) => ({ topic: name, partition: partitionIndex })),
      ),
    )
    if (errorCode !== 0) return { errorCode, throttleTimeMs: 0, topics: [] }
    let i = 0
    return {
      errorCode,
      throttleTimeMs: 0,
      topics: topics.map(({ name, partitions }) => ({
        name,
        partitions: partitions.map(({ partitionIndex }) => ({
          partitionIndex,
          errorCode: errors[i++] as number,
        })),
      })),
    }
  }
}
