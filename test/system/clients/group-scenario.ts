/**
 * What every client's groups go through, several clients side by side on one broker: members come,
 * go and crash, the broker is restarted and killed, and the group comes back after it was empty.
 * All along records are written; in the end none was missed, and only those were read twice whose
 * commit a crash had prevented.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startBrokerUnderTest } from '../../support/broker.ts'
import { type PeerName, skipWithout } from '../../support/peers.ts'
import { Group, type MemberCommand } from './member.ts'

const RECORDS = 10
export const BROKER_SETTINGS = { 'group.initial.rebalance.delay.ms': '0' } as const

export interface GroupClient {
  readonly name: string
  readonly command: MemberCommand
}

export function testGroups(options: {
  readonly title: string
  readonly needs: readonly PeerName[]
  readonly clients: () => Promise<readonly GroupClient[]>
  readonly dispose?: () => void
}): void {
  test(options.title, async (t) => {
    if (skipWithout(t, ...options.needs)) return
    const broker = await startBrokerUnderTest(BROKER_SETTINGS)
    const clients = await options.clients()
    const groups = await Promise.all(clients.map(({ name }) => Group.create(name, broker.address)))
    // Whoever has failed once would only be waited for again.
    const failed = new Set<Group>()
    const each = async (work: (group: Group, client: GroupClient) => Promise<void>) => {
      const results = await Promise.allSettled(
        groups.map(async (group, i) => {
          if (failed.has(group)) return
          try {
            await work(group, clients[i] as GroupClient)
          } catch (error) {
            failed.add(group)
            throw error
          }
        }),
      )
      // Only now, when nobody is in the middle of something: the next part starts after this one.
      for (const result of results) if (result.status === 'rejected') throw result.reason
    }
    const read = async (group: Group): Promise<void> => {
      await group.write(RECORDS)
      await group.consumed()
    }
    try {
      await t.test('one member owns all partitions', () =>
        each(async (group, { command }) => {
          group.start('a', command)
          await group.settled()
          await read(group)
        }),
      )
      await t.test('two more come, and each has its share', () =>
        each(async (group, { command }) => {
          group.start('b', command)
          group.start('c', command)
          await group.settled()
          await read(group)
        }),
      )
      await t.test('one leaves', () =>
        each(async (group) => {
          await group.members[2]?.leave()
          await group.settled()
          await read(group)
          assert.deepEqual(group.repeated(), [], `${group.name}: nobody has crashed yet`)
        }),
      )
      await t.test('one crashes', () =>
        each(async (group) => {
          await group.members[1]?.kill()
          await group.settled()
          await read(group)
        }),
      )
      await t.test('the broker is restarted', async () => {
        await broker.stop()
        await broker.start(BROKER_SETTINGS)
        await each(read)
      })
      await t.test('the broker is killed', async () => {
        await broker.kill('SIGKILL')
        await broker.start(BROKER_SETTINGS)
        await each(read)
      })
      await t.test('the group was empty, and goes on where it was', () =>
        each(async (group, { command }) => {
          await group.settled()
          await group.members[0]?.leave()
          const before = group.repeated().length
          await group.write(RECORDS)
          const member = group.start('d', command)
          await group.consumed()
          assert.equal(group.repeated().length, before, `${group.name}: read again`)
          assert.equal(member.values.length, RECORDS * group.partitions)
          await member.leave()
        }),
      )
    } finally {
      await Promise.all(groups.map((group) => group.end()))
      await broker[Symbol.asyncDispose]()
      options.dispose?.()
    }
  })
}
