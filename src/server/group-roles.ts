/** Has the groups of an offsets partition served by the broker that leads it, and by no other. */
import type { GroupCoordinator } from '../group/group-coordinator.ts'
import { OFFSETS_TOPIC } from '../group/record-schemas.ts'
import type { Partition } from '../replica/partition.ts'

export class GroupRoles {
  readonly #groups: GroupCoordinator
  /** Partitions whose groups are served here. */
  readonly #served = new Set<number>()

  constructor(groups: GroupCoordinator) {
    this.#groups = groups
  }

  /** Called for every partition whose role has changed. */
  roleChanged({ topic, partition, isLeader }: Partition): void {
    if (topic !== OFFSETS_TOPIC || isLeader === this.#served.has(partition)) return
    if (isLeader) {
      this.#served.add(partition)
      void this.#groups.becomeLeader(partition)
    } else {
      this.#served.delete(partition)
      this.#groups.resign(partition)
    }
  }
}
