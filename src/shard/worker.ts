/** Entry of a shard's worker thread: Piscina calls these by name. */
import type { ControlMessage, ControlName, ControlOutput, ShardStart } from './control.ts'
import { ShardOwner } from './shard-owner.ts'

let owner: ShardOwner | null = null
let stop: (() => void) | null = null

/** Owns the shard until `shardStop`, or until the thread ends. */
export async function shardMain(start: ShardStart): Promise<void> {
  owner = new ShardOwner(start, false)
  await new Promise<void>((resolve) => {
    stop = resolve
  })
  owner.detach()
  owner = null
}

export function shardStop(): void {
  stop?.()
}

/** A control task. A fault in it is a fault of the shard: the thread ends, and main restarts it. */
export async function control(message: ControlMessage): Promise<ControlOutput<ControlName>> {
  if (owner === null) throw new Error('the shard has not started')
  if (message.name === 'crash') {
    setImmediate(() => {
      throw new Error('a crash was asked for')
    })
    return await new Promise(() => undefined)
  }
  return await owner.run(message)
}
