/** Parking a fetch, and waking it, with other fetches parked beside it. */
import { FetchPurgatory } from '../../src/replica/delayed-fetch.ts'
import { ManualClock } from '../../src/util/clock.ts'
import { TimerQueue } from '../../src/util/timer-queue.ts'
import type { Suite } from './suite.ts'

/** Published rows that no log of this process uses. */
const ROW = 0
const OTHER_ROW = 1

function parkAndWake(purgatory: FetchPurgatory, rows: readonly number[]): void {
  let enough = false
  purgatory.answerOrPark({ rows, maxWaitMs: 500, attempt: (expired) => enough || expired })
  enough = true
  purgatory.advanced(ROW)
}

export const purgatorySuite: Suite = {
  name: 'purgatory',
  async prepare() {
    const timers = new TimerQueue(new ManualClock())
    const purgatory = new FetchPurgatory(timers)
    const never = { rows: [OTHER_ROW], maxWaitMs: 1e9, attempt: (expired: boolean) => expired }
    for (let i = 0; i < 1000; i += 1) purgatory.answerOrPark(never)
    const eight = [ROW, 2, 3, 4, 5, 6, 7, 8]
    const work = [
      { name: 'park and wake, 1 partition', sync: () => parkAndWake(purgatory, [ROW]) },
      { name: 'park and wake, 8 partitions', sync: () => parkAndWake(purgatory, eight) },
    ]
    return { work, end: async () => purgatory.expireAll() }
  },
}
