/** What connections cost that announce much and send little. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { test } from 'node:test'
import { Metadata } from '../../src/protocol/messages/metadata.ts'
import { ShardlogServer } from '../support/broker.ts'
import { WireClient } from '../support/wire-client.ts'

const CONNECTIONS = 1000
const ANNOUNCED = 100_000_000
const COST_MAX_BYTES = 64 << 20

function residentBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) * 1024
}

test(`${CONNECTIONS} connections that announce 100 MB each cost less than 64 MiB`, async () => {
  await using broker = new ShardlogServer()
  await broker.start()
  const port = Number(broker.address.split(':')[1])
  const client = await WireClient.connect(port)
  await client.send(Metadata, 9, { topics: [] })
  const before = residentBytes(broker.pid)
  // The head of a Produce request, and a kilobyte of what is said to be 100 MB.
  const head = Buffer.alloc(1024)
  head.writeInt32BE(ANNOUNCED, 0)
  head.writeInt16BE(9, 6)
  const sockets: Socket[] = []
  for (let i = 0; i < CONNECTIONS; i += 100) {
    const some = Array.from({ length: 100 }, () => connect(port, '127.0.0.1'))
    await Promise.all(some.map((socket) => once(socket, 'connect')))
    for (const socket of some) socket.write(head)
    sockets.push(...some)
  }
  // Answered on a later connection than all of them: they have been read by then.
  const later = await WireClient.connect(port)
  for (let i = 0; i < 50; i += 1) await later.send(Metadata, 9, { topics: [] })
  const cost = residentBytes(broker.pid) - before
  assert.ok(cost < COST_MAX_BYTES, `${cost >> 20} MiB`)
  for (const socket of sockets) socket.destroy()
  await client.send(Metadata, 9, { topics: [] })
  client.close()
  later.close()
  assert.equal((await broker.stop()).code, 0)
})
