/**
 * Members in six languages share one group; members that hand partitions over one by one; static
 * members that restart unnoticed.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startBrokerUnderTest } from '../../support/broker.ts'
import { skipWithout } from '../../support/peers.ts'
import { BROKER_SETTINGS } from './group-scenario.ts'
import { compileJavaMember, Group, memberCommands } from './member.ts'

const JAVA = 'kafka-clients-3.9'

test('one group of members in six languages', async (t) => {
  if (skipWithout(t, 'python', 'go', JAVA)) return
  await using broker = await startBrokerUnderTest(BROKER_SETTINGS)
  const java = await compileJavaMember(JAVA, 'duration/Poll')
  const group = await Group.create('mixed', broker.address, { partitions: 12 })
  try {
    group.start('java', java.command)
    for (const [name, command] of Object.entries(memberCommands)) group.start(name, command)
    await group.settled()
    await group.write(10)
    await group.consumed()
    for (const name of ['java', 'sarama', 'kafkajs']) {
      const member = group.members.find((one) => one.name.endsWith(`/${name}`))
      if (name === 'sarama') await member?.kill()
      else await member?.leave()
      await group.settled()
      await group.write(5)
      await group.consumed()
    }
    group.start('java again', java.command)
    await group.settled()
    await group.write(5)
    await group.consumed()
  } finally {
    await group.end()
    java.dispose()
  }
})

test('cooperative members keep what they own while others come and go', async (t) => {
  if (skipWithout(t, 'go', JAVA)) return
  await using broker = await startBrokerUnderTest(BROKER_SETTINGS)
  const java = await compileJavaMember(JAVA, 'duration/Poll')
  const group = await Group.create('cooperative', broker.address, {
    partitions: 8,
    assignor: 'cooperative-sticky',
  })
  try {
    const first = group.start('java', java.command)
    await group.settled()
    const owned = [...first.assignment]
    const second = group.start('franz-go', memberCommands['franz-go'])
    await group.settled()
    const kept = first.assignment
    assert.ok(
      kept.every((partition) => owned.includes(partition)),
      `[${kept}] of [${owned}]`,
    )
    assert.equal(kept.length, 4)
    await group.write(10)
    await group.consumed()
    group.start('another java', java.command)
    await group.settled()
    await second.leave()
    await group.settled()
    await group.write(10)
    await group.consumed()
    assert.deepEqual(group.repeated(), [], 'nobody has crashed')
  } finally {
    await group.end()
    java.dispose()
  }
})

test('static members restart, and the others do not notice', async (t) => {
  if (skipWithout(t, 'python', JAVA)) return
  await using broker = await startBrokerUnderTest(BROKER_SETTINGS)
  const java = await compileJavaMember(JAVA, 'duration/Poll')
  // Longer than a JVM needs to start on the busiest machine.
  const group = await Group.create('static', broker.address, { sessionTimeoutMs: 60_000 })
  try {
    const first = group.start('java', java.command, 'one')
    const second = group.start('librdkafka', memberCommands['confluent-kafka'], 'two')
    await group.settled()
    await group.write(5)
    await group.consumed()
    const { assignment, assignments } = second
    const mine = [...first.assignment]
    // Neither leaving nor crashing ends the place of a static member: only its session does.
    for (const restart of [() => first.leave(), () => group.members.at(-1)?.kill()]) {
      await restart()
      const again = group.start('java again', java.command, 'one')
      await group.until('the place is taken again', () => again.assignment.length > 0)
      assert.deepEqual(again.assignment, mine)
      await group.write(5)
      await group.consumed()
    }
    assert.deepEqual(second.assignment, assignment)
    assert.equal(second.assignments, assignments, 'no rebalance')
  } finally {
    await group.end()
    java.dispose()
  }
})
