/**
 * A thread that owns a shard with one log. It never looks at a slice that needs JavaScript, and
 * until `gate` opens it does nothing at all.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { addon, type LogOpenOptions } from '../../src/native/addon.ts'
import { EVENT_WIDTH } from '../../src/native/events.ts'

const { shard, options, gate } = workerData as {
  shard: number
  options: LogOpenOptions
  gate: SharedArrayBuffer
}
const attached = addon.attachShard(shard, false, new Float64Array(EVENT_WIDTH), () => undefined)
const opened = addon.openLog(shard, options)
parentPort?.postMessage({ attached, ...opened })
// What is queued meanwhile stays in the queue.
Atomics.wait(new Int32Array(gate), 0, 0)
parentPort?.on('message', () => undefined) // Stays until it is terminated.
