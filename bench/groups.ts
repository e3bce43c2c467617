/**
 * What it costs to keep many groups alive: 1,000 groups of 3 members on a topic of 100 partitions,
 * each member on a connection of its own with a heartbeat every 3 seconds, in this process.
 * `npm run bench:groups -- [--groups N] [--seconds N]`
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { BrokerConnection } from '../src/client/broker-connection.ts'
import { encodeConsumerAssignment } from '../src/protocol/consumer-protocol.ts'
import { CreateTopics } from '../src/protocol/messages/create-topics.ts'
import { FindCoordinator } from '../src/protocol/messages/find-coordinator.ts'
import { Heartbeat } from '../src/protocol/messages/heartbeat.ts'
import { JoinGroup } from '../src/protocol/messages/join-group.ts'
import { SyncGroup } from '../src/protocol/messages/sync-group.ts'
import { describeMachine, machineLine } from './machine.ts'
import { cpuSeconds, residentMemory } from './process-usage.ts'

const MEMBERS = 3
const PARTITIONS = 100
const HEARTBEAT_MS = 3000
const TOGETHER = 50
const root = join(import.meta.dirname, '..', '..')

const { values } = parseArgs({
  options: {
    groups: { type: 'string', default: '1000' },
    seconds: { type: 'string', default: '30' },
  },
})

interface Member {
  readonly connection: BrokerConnection
  readonly groupId: string
  readonly memberId: string
  readonly generationId: number
}

async function open(port: number): Promise<BrokerConnection> {
  return await BrokerConnection.open({
    host: '127.0.0.1',
    port,
    clientId: 'bench',
    connectTimeoutMs: 30_000,
    requestTimeoutMs: 60_000,
  })
}

/** Members of one group, joined and synced. */
async function joinGroup(port: number, groupId: string): Promise<Member[]> {
  const connections = await Promise.all(Array.from({ length: MEMBERS }, () => open(port)))
  const joins = await Promise.all(
    connections.map((connection) =>
      connection.send(
        JoinGroup,
        {
          groupId,
          sessionTimeoutMs: 45_000,
          rebalanceTimeoutMs: 60_000,
          memberId: '',
          protocolType: 'consumer',
          protocols: [{ name: 'range', metadata: Buffer.alloc(12) }],
        },
        { version: 3 },
      ),
    ),
  )
  // Whoever came after the first answer makes the others join again.
  const last = Math.max(...joins.map(({ generationId }) => generationId))
  if (joins.some(({ generationId }) => generationId !== last)) {
    throw new Error(`${groupId}: the members did not come together`)
  }
  const share = Math.ceil(PARTITIONS / MEMBERS)
  const assignments = joins.map(({ memberId }, i) => ({
    memberId,
    assignment: encodeConsumerAssignment({
      assignedPartitions: [
        {
          topic: 'bench-groups',
          partitions: Array.from({ length: PARTITIONS }, (_, one) => one).slice(
            i * share,
            (i + 1) * share,
          ),
        },
      ],
      userData: null,
    }),
  }))
  await Promise.all(
    joins.map(({ memberId, generationId, leader }, i) =>
      (connections[i] as BrokerConnection).send(
        SyncGroup,
        {
          groupId,
          generationId,
          memberId,
          assignments: leader === memberId ? assignments : [],
        },
        { version: 3 },
      ),
    ),
  )
  return joins.map(({ memberId, generationId }, i) => ({
    connection: connections[i] as BrokerConnection,
    groupId,
    memberId,
    generationId,
  }))
}

async function heartbeat({ connection, ...member }: Member): Promise<number> {
  const { errorCode } = await connection.send(Heartbeat, member, { version: 3 })
  return errorCode
}

async function main(): Promise<void> {
  const count = Number(values.groups)
  const seconds = Number(values.seconds)
  const data = mkdtempSync(join(tmpdir(), 'shardlog-bench-'))
  const broker = spawn(
    process.execPath,
    [
      join(root, 'bin', 'shardlog-server'),
      ...['--override', `log.dirs=${data}`, '--override', 'listeners=PLAINTEXT://127.0.0.1:0'],
      ...['--override', 'group.initial.rebalance.delay.ms=200'],
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  try {
    const [line] = (await once(createInterface(broker.stdout), 'line')) as [string]
    const port = Number(/:(\d+)/.exec(line)?.[1])
    const admin = await open(port)
    const topic = { numPartitions: PARTITIONS, replicationFactor: 1, assignments: [], configs: [] }
    await admin.send(CreateTopics, {
      topics: [{ name: 'bench-groups', ...topic }],
      timeoutMs: 30_000,
    })
    await admin.send(FindCoordinator, { key: 'any', keyType: 0 }, { version: 2 })
    const members: Member[] = []
    for (let i = 0; i < count; i += TOGETHER) {
      const groups = Array.from({ length: Math.min(TOGETHER, count - i) }, (_, j) =>
        joinGroup(port, `group-${i + j}`),
      )
      members.push(...(await Promise.all(groups)).flat())
    }
    const pid = broker.pid as number
    let beats = 0
    let errors = 0
    let pending = 0
    const round = async (): Promise<void> => {
      const begin = performance.now()
      // Spread over the interval, as members that started at different times are.
      for (let slot = 0; slot < 100; slot += 1) {
        const due = begin + (slot * HEARTBEAT_MS) / 100
        await setTimeout(Math.max(0, due - performance.now()))
        for (let i = slot; i < members.length; i += 100) {
          pending += 1
          void heartbeat(members[i] as Member).then((errorCode) => {
            pending -= 1
            beats += 1
            if (errorCode !== 0) errors += 1
          })
        }
      }
    }
    await round()
    beats = 0
    const cpuBefore = cpuSeconds(pid)
    const begin = performance.now()
    while (performance.now() - begin < seconds * 1000) await round()
    const elapsed = (performance.now() - begin) / 1000
    const cpu = cpuSeconds(pid) - cpuBefore
    process.stdout.write(
      `${machineLine(describeMachine())}\n` +
        `${count} groups of ${MEMBERS} members, ${members.length} connections, ${(beats / elapsed).toFixed(0)} heartbeats/s, ${errors} errors\n` +
        `broker CPU: ${((cpu / elapsed) * 100).toFixed(1)} % of a core (${((cpu / beats) * 1e6).toFixed(0)} µs a heartbeat), ` +
        `${residentMemory(pid).nowMb.toFixed(0)} MB resident\n`,
    )
    while (pending > 0) await setTimeout(10)
    await Promise.all(members.map(({ connection }) => connection.close()))
    await admin.close()
  } finally {
    broker.kill('SIGTERM')
    await once(broker, 'exit')
    rmSync(data, { recursive: true, force: true })
  }
}

await main()
