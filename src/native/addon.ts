/** The one door to the C++ add-on: loads it and gives its functions types. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'

/** Limits of a transport; all numbers are bytes, counts or milliseconds as the names say. */
export interface TransportOptions {
  readonly frameBytesMax: number
  readonly inflightMax: number
  readonly inflightBytesMax: number
  readonly outputBytesMax: number
  /** Of the process, over all transports. */
  readonly receivedBytesMax: number
  readonly connectionsMax: number
  readonly idleMs: number
  readonly frameStallMs: number
  /** -1 leaves the choice to the system. */
  readonly sendBufferBytes: number
  readonly receiveBufferBytes: number
}

/** What a log acts on; times in ms, sizes in bytes, -1 (or 2^53-1 for the timestamp bounds): no limit. */
export interface LogSettings {
  readonly segmentBytes: number
  readonly segmentMs: number
  readonly segmentJitterMs: number
  readonly segmentIndexBytes: number
  readonly indexIntervalBytes: number
  readonly messageMaxBytes: number
  readonly logAppendTime: boolean
  readonly timestampBeforeMaxMs: number
  readonly timestampAfterMaxMs: number
  /** A codec, or -1: as the producer sent it. */
  readonly compression: number
  /** Level of that codec where it has levels; read by the slow lane only. */
  readonly compressionLevel: number | null
  readonly retentionMs: number
  readonly retentionBytes: number
  readonly compacted: boolean
  readonly deletes: boolean
  readonly producerExpirationMs: number
}

export interface LogOpenOptions extends LogSettings {
  readonly directory: string
  readonly cleanShutdown: boolean
  readonly recoveryPoint: number
  readonly logStart: number
  readonly highWatermark: number
  /** -1 when this broker does not lead the partition. */
  readonly leaderEpoch: number
  readonly followers: number
  readonly nowMs: number
}

export interface LogOpenResult {
  /** 0, or an errno value; then only `what`, `bytesTruncated` and `reason` mean something. */
  readonly error: number
  readonly what: string
  readonly handle: number
  readonly row: number
  readonly bytesTruncated: number
  readonly reason: string
  readonly segmentsScanned: number
}

/** Keys and offsets in native memory; freed with the object, or sooner by `clearOffsetMap`. */
export interface OffsetMap {
  readonly kind?: 'OffsetMap'
}

/**
 * The functions of the add-on. A request is named by its connection and its sequence on that
 * connection; a log by a handle. A stale name is answered with a negative number or `false`, never
 * with a crash. Results are `n >= 0` or `-errno` unless the comment says otherwise.
 */
export interface Addon {
  /** CRC-32C of `bytes`, continuing from `seed` (0 at the start). */
  crc32c(bytes: Uint8Array, seed: number): number
  /** Which form of CRC-32C this CPU got: `sse4.2`, `armv8` or `portable`. */
  crc32cImplementation(): string
  /** A descriptor that holds the lock, or -errno: -11 (EAGAIN) when somebody else holds it. */
  lockDirectory(path: string): number
  unlockDirectory(descriptor: number): void

  openTransport(
    options: TransportOptions,
    rows: Float64Array,
    callback: (count: number) => void,
  ): number
  closeTransport(transport: number): void
  /** The bound port, or -errno. */
  listen(transport: number, address: string, port: number, backlog: number): number
  stopTransport(transport: number): void
  connectionCount(transport: number): number
  closeConnection(transport: number, connection: number): void
  peerAddress(transport: number, connection: number): string
  attach(transport: number): number
  /** 1 to go on, 0 to pause the source, -1 when the connection is closed. */
  feed(transport: number, connection: number, bytes: Uint8Array): number
  wantsPause(transport: number, connection: number): boolean
  pull(transport: number, connection: number, out: Uint8Array): number

  /** Bytes copied; -1 the request is gone, -3 `out` is too small. */
  readFrame(transport: number, connection: number, sequence: number, out: Uint8Array): number
  /** The same without record payloads; -2 when the frame is malformed. */
  readProduceHead(transport: number, connection: number, sequence: number, out: Uint8Array): number
  releaseFrame(transport: number, connection: number, sequence: number): void
  respond(
    transport: number,
    connection: number,
    sequence: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean
  respondRegions(
    transport: number,
    connection: number,
    sequence: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    cuts: Int32Array,
    count: number,
  ): boolean
  produce(
    transport: number,
    connection: number,
    sequence: number,
    acks: number,
    template: Uint8Array,
    start: number,
    end: number,
    slices: Float64Array,
    count: number,
  ): boolean
  requestHead(transport: number, connection: number, sequence: number, out: Uint8Array): number
  requestResults(transport: number, connection: number, sequence: number, out: Float64Array): number
  /** To another broker: OPENED with listener -1 or CLOSED follows. */
  connect(transport: number, address: string, port: number): number
  send(
    transport: number,
    connection: number,
    bytes: Uint8Array,
    start: number,
    end: number,
  ): boolean
  /** An answer to a Fetch without record payloads; results as of `readProduceHead`. */
  readFetchHead(
    transport: number,
    connection: number,
    sequence: number,
    out: Uint8Array,
    version: number,
  ): number
  /** An answer on an outbound connection is read. */
  dropFrame(transport: number, connection: number, sequence: number): void
  /** Appends the records of a Fetch answer as a follower; a RESULT event follows. */
  appendFetched(
    transport: number,
    connection: number,
    sequence: number,
    slices: Float64Array,
    count: number,
  ): boolean
  /** A connection of this process itself. */
  openInternal(transport: number): number
  /** The sequence of the RESULT event that follows, or a negative number. */
  appendInternal(
    transport: number,
    connection: number,
    log: number,
    bytes: Uint8Array,
    leaderEpoch: number,
    acks: number,
    nowMs: number,
  ): number
  /** What `requestResults` gives, and the end of an internal request. */
  takeResults(transport: number, connection: number, sequence: number, out: Float64Array): number
  /** Bytes staged, or -(1000 + protocol error code). */
  locate(
    transport: number,
    log: number,
    offset: number,
    maxBytes: number,
    limitOffset: number,
    minOneBatch: boolean,
  ): number
  readStaged(transport: number, out: Uint8Array): number
  clearStaged(transport: number): void
  publishedRows(): ArrayBuffer
  heldFrameBytes(): number

  createShard(transport: number): number
  attachShard(
    shard: number,
    direct: boolean,
    rows: Float64Array,
    callback: (count: number) => void,
  ): boolean
  detachShard(shard: number): void
  removeShard(shard: number): void
  drainShard(shard: number): void
  /** See `shard/log-commands.ts`. */
  postToLog(log: number, kind: number, value: number, epoch: number): boolean
  slowSliceBytes(log: number): Buffer | null
  slowSliceVersion(log: number): number
  slowSliceNow(log: number): number
  finishSlow(log: number, errorCode: number, recordIndex: number, bytes: Uint8Array | null): boolean

  openLog(shard: number, options: LogOpenOptions): LogOpenResult
  /** 0 or an errno value. */
  closeLog(log: number, clean: boolean): number
  configureLog(log: number, settings: LogSettings): boolean
  /** [errno, segments, bytes] */
  deleteOldSegments(log: number, nowMs: number): [number, number, number]
  /** A protocol error code. */
  deleteRecords(log: number, offset: number): number
  /**
   * Cuts a log that does not lead, or empties it to begin at the offset. 0 or an errno: 1 (EPERM)
   * for one that leads, 116 (ESTALE) for one that does not follow that epoch (-1: any), 16 (EBUSY)
   * while the slow lane holds it.
   */
  truncateLog(log: number, offset: number, fully: boolean, leaderEpoch: number): number
  logRecoveryPoint(log: number): number
  /** [errno, found, offset, timestamp, leader epoch, the compressed batch to look into or null] */
  offsetForTimestamp(
    log: number,
    timestamp: number,
    limitOffset: number,
  ): [number, boolean, number, number, number, Buffer | null]
  /** [epoch, end offset], as OffsetForLeaderEpoch answers. Any thread. */
  epochEndOffset(log: number, epoch: number): [number, number]
  epochOfOffset(log: number, offset: number): number
  flushLog(log: number, done: (errno: number) => void): boolean
  /** Whole batches from `offset` on, below `limitOffset`, read by another thread. */
  readLog(
    log: number,
    offset: number,
    maxBytes: number,
    limitOffset: number,
    done: (errorCode: number, bytes: Buffer | null) => void,
  ): boolean

  /**
   * [errno, truncations so far, rows of 4 per segment: base offset, bytes, largest timestamp, first
   * timestamp], the times -1 unless asked for; null when the log is gone.
   */
  cleaningState(log: number, times: boolean): [number, number, Float64Array] | null
  /** Rows of 3: producer id, offset of its last record (-1: none), epoch. */
  lastBatchesOfProducers(log: number): Float64Array
  /**
   * Puts a cleaned segment in the place of the segments of `bases`. 0, and `done` is called when
   * these are gone from the disk; an errno (116, ESTALE: the log is another one by now); or -1.
   */
  replaceSegments(
    log: number,
    bases: Float64Array,
    truncations: number,
    done: (errno: number) => void,
  ): number
  createOffsetMap(bytesMax: number, loadFactor: number, secret: Uint8Array): OffsetMap
  clearOffsetMap(map: OffsetMap): void
  /** [keys, bytes] */
  offsetMapSize(map: OffsetMap): [number, number]
  /** False when the map is full. */
  putOffset(map: OffsetMap, key: Uint8Array, offset: number): boolean
  /** -1 for a key that was never put. */
  getOffset(map: OffsetMap, key: Uint8Array): number
  /**
   * Notes the keys of a batch, whose records are in `batch` or, decompressed, in `records`. 0, 1
   * when the map is full, -1 when they are malformed; state[0]: the last offset noted, or -1.
   */
  indexRecords(
    map: OffsetMap,
    batch: Uint8Array,
    records: Uint8Array | null,
    firstOffset: number,
    state: Float64Array,
  ): number
  /**
   * Drops records of a batch. The new batch, not compressed, or null when the original stands or
   * nothing is left; state: [malformed, records kept, records without a key]. Flags: 1 drop all, 2
   * keep all, 4 keep tombstones, 8 wants a delete horizon.
   */
  filterRecords(
    map: OffsetMap,
    batch: Uint8Array,
    records: Uint8Array | null,
    latestOffset: number,
    flags: number,
    deleteHorizonMs: number,
    state: Float64Array,
  ): Buffer | null
}

const require = createRequire(import.meta.url)

/** Built here, or what came with the package. */
const built = '../../../build/Release/shardlog.node'
const prebuilt = `../../../prebuilds/${process.platform}-${process.arch}/shardlog.node`

export const addon: Addon = require(existsSync(new URL(built, import.meta.url)) ? built : prebuilt)
