/** What the benchmarks send and read: settings of the client, and how they are told. */
import { closeSync, openSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import type { JobResult, Settings } from './client.ts'
import type { Measured } from './report.ts'

export interface Load {
  /** Bytes of a record's value. */
  readonly size: number
  /** Bytes of a full batch; 0: one record each. */
  readonly batch: number
  /** Of all records of a round. */
  readonly bytes: number
}

export const PRODUCER = {
  'enable.idempotence': 'false',
  'max.in.flight': 5,
  'socket.nagle.disable': 'true',
  'queue.buffering.max.messages': 300_000,
  'queue.buffering.max.kbytes': 131_072,
} as const

// The queue limits keep librdkafka from pausing a partition for a second when it is ahead.
export const CONSUMER = {
  'group.id': 'bench',
  'enable.auto.commit': 'false',
  'socket.nagle.disable': 'true',
  'fetch.message.max.bytes': 1_048_576,
  'fetch.max.bytes': 52_428_800,
  'fetch.wait.max.ms': 500,
  'fetch.min.bytes': 1,
  'queued.min.messages': 10_000_000,
  'queued.max.messages.kbytes': 2_097_151,
} as const

/** How a load is produced. */
export interface Producing {
  readonly acks: number
  readonly partitions: number
  readonly connections: number
}

/** A linger that large batches are full before, also when the client is slower than the broker. */
export function batchedSettings({ acks, partitions, connections }: Producing, load: Load) {
  return {
    ...PRODUCER,
    acks,
    partitions,
    connections,
    records: Math.round(load.bytes / load.size),
    size: load.size,
    burst: Math.ceil(load.batch / load.size),
    'batch.size': load.batch,
    'batch.num.messages': 1_000_000,
    'linger.ms': load.batch > 100_000 ? 100 : 10,
  }
}

export function describeLoad(producing: Producing, load: Load, settings: Settings): string {
  const { acks, partitions, connections } = producing
  const batch = load.batch === 0 ? 'one record per request' : `batches of ${load.batch} B`
  return (
    `${settings['records']} records of ${load.size} B, ${batch}, linger ${settings['linger.ms']} ms, ` +
    `${partitions} partitions, ${connections} connections, acks ${acks}, ` +
    `${PRODUCER['max.in.flight']} in flight`
  )
}

export function produceFigures(job: JobResult, size: number): Measured {
  return {
    'broker CPU s/GB': (job.brokerCpu * 1e9) / job.bytes,
    'broker CPU s/M records': (job.brokerCpu * 1e6) / job.records,
    'broker us/request': (job.brokerCpu * 1e6) / job.produceRequests,
    'client CPU s/GB': (job.clientCpu * 1e9) / job.bytes,
    'MB/s': job.bytes / 1e6 / job.seconds,
    'records/s': job.records / job.seconds,
    'kB per request': (job.records * size) / 1e3 / job.produceRequests,
  }
}

/** Touches page cache before anything is measured: a guest's first use of memory is slow. */
export function prime(folder: string, bytes: number): void {
  const path = join(folder, 'prime')
  const chunk = Buffer.alloc(1 << 20, 1)
  const file = openSync(path, 'w')
  for (let written = 0; written < bytes; written += chunk.length) writeSync(file, chunk)
  closeSync(file)
  rmSync(path)
}
