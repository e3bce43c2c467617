/**
 * A round of replication at the leader: a follower's fetch is taken, its positions are counted, and
 * it is answered with what its logs lack. Without sockets: what is sent goes nowhere.
 */
import { Connection } from '../../src/network/connection.ts'
import type { Frame } from '../../src/network/request-handler.ts'
import { decodeRequest, encodeRequest } from '../../src/protocol/codec.ts'
import { MessageReader } from '../../src/protocol/message-reader.ts'
import { MessageWriter } from '../../src/protocol/message-writer.ts'
import { Fetch, type FetchRequest } from '../../src/protocol/messages/fetch.ts'
import { DataPath, position, type ReplicaFetch, replicaFetch } from '../../test/server/data-path.ts'
import type { Suite, Work } from './suite.ts'

const VERSION = 17
const ROUNDS = [
  { partitions: 1, moved: 1 },
  { partitions: 2000, moved: 1 },
  { partitions: 2000, moved: 20 },
  { partitions: 2000, moved: 2000 },
]

function requestOf(fetch: ReplicaFetch): FetchRequest {
  const writer = new MessageWriter()
  encodeRequest(Fetch, VERSION, writer, replicaFetch(fetch))
  const bytes = Buffer.from(writer.written)
  return decodeRequest(Fetch, VERSION, new MessageReader().reset(bytes, 0, bytes.length, false))
}

/** A follower with a session of its own, in which `moved` partitions have a record to fetch. */
function follower(path: DataPath, { partitions, moved }: { partitions: number; moved: number }) {
  const connection = new Connection(-1, 'PLAINTEXT', '127.0.0.1')
  const frame: Frame = {
    ...{ connection, sequence: 0, bytes: 0, apiKey: Fetch.key, apiVersion: VERSION },
    correlationId: 1,
  }
  const named = Array.from({ length: partitions }, (_, partition) => position(1, { partition }))
  path.replicaFetch.handle(frame, requestOf({ partitions: named }))
  const lacking = named.slice(0, moved).map((one) => ({ ...one, fetchOffset: 0 }))
  const request = requestOf({ partitions: lacking, sessionEpoch: 1 })
  request.sessionId = path.replicaFetch.sessionIdOf(connection)
  return (): void => {
    path.replicaFetch.handle(frame, request)
    request.sessionEpoch += 1
  }
}

export const replicaFetchSuite: Suite = {
  name: 'replica fetch',
  async prepare() {
    const ends: (() => void | Promise<void>)[] = []
    const path = await DataPath.start({ after: (end) => ends.unshift(end) })
    const partitions = await path.open('t', { partitions: 2000 })
    for (const partition of partitions) await path.append(partition, 'x'.repeat(100))
    const work = ROUNDS.map(
      (round): Work => ({
        name: `${round.moved} of ${round.partitions} partitions moved`,
        sync: follower(path, round),
      }),
    )
    return {
      work,
      async end() {
        for (const end of ends) await end()
      },
    }
  },
}
