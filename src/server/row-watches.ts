// Hot path.
/** Which positions of replicas' sessions wait for a published row to move. */
import type { FetchPurgatory } from '../replica/delayed-fetch.ts'
import { NO_ROW, type ReplicaPosition } from './replica-session.ts'

interface Watch {
  readonly positions: Set<ReplicaPosition>
  /** The row will tell of its next move, or has told already and the event is on its way. */
  isArmed: boolean
}

const NOBODY: ReadonlySet<ReplicaPosition> = new Set()

export class RowWatches {
  readonly #purgatory: FetchPurgatory
  readonly #watches = new Map<number, Watch>()

  constructor(purgatory: FetchPurgatory) {
    this.#purgatory = purgatory
  }

  /** Has a position wait for that row, or for none, instead of the one before. */
  watch(position: ReplicaPosition, row: number): void {
    if (position.row === row) return
    const old = this.#watches.get(position.row)
    if (old !== undefined) {
      old.positions.delete(position)
      if (old.positions.size === 0) this.#watches.delete(position.row)
    }
    position.row = row
    if (row === NO_ROW) return
    const watch = this.#watches.get(row)
    if (watch === undefined) {
      this.#watches.set(row, { positions: new Set([position]), isArmed: false })
    } else {
      watch.positions.add(position)
    }
  }

  /** Asks a row to tell of its next move. What is read behind this call is not missed. */
  arm(row: number): void {
    const watch = this.#watches.get(row)
    if (watch === undefined || watch.isArmed) return
    watch.isArmed = true
    this.#purgatory.wakeAt(row)
  }

  /** A row has told of a move; who waits for it. */
  moved(row: number): ReadonlySet<ReplicaPosition> {
    const watch = this.#watches.get(row)
    if (watch === undefined) return NOBODY
    watch.isArmed = false
    return watch.positions
  }
}
