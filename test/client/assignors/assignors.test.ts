/**
 * The assignors: range and round-robin give what Apache Kafka's own classes give for random groups;
 * cooperative-sticky is valid, balanced, moves no more than Apache's, and takes nothing that
 * another member still owns. SHARDLOG_TEST_SEED repeats a run.
 */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Assignor,
  type AssignorMember,
  type AssignorTopic,
  compareStrings,
} from '../../../src/client/assignors/assignor.ts'
import { CooperativeStickyAssignor } from '../../../src/client/assignors/cooperative-sticky.ts'
import { RangeAssignor } from '../../../src/client/assignors/range.ts'
import { RoundRobinAssignor } from '../../../src/client/assignors/round-robin.ts'
import type { TopicPartitions } from '../../../src/protocol/consumer-protocol.ts'
import { SeededRandom } from '../../../src/util/random.ts'
import { jarToRun, runJava } from '../../support/java-program.ts'
import { testSeed } from '../../support/seed.ts'

interface Group {
  readonly topics: ReadonlyMap<string, AssignorTopic>
  readonly members: readonly AssignorMember[]
}

type Assignment = ReadonlyMap<string, readonly TopicPartitions[]>

const seed = testSeed()

const RACKS = ['a', 'b', 'c']

function pick<T>(random: SeededRandom, list: readonly T[]): T {
  return list[random.integer(list.length)] as T
}

function memberOf(memberId: string, topics: readonly string[]): AssignorMember {
  return {
    memberId,
    groupInstanceId: null,
    topics,
    userData: null,
    ownedPartitions: [],
    generationId: -1,
    rackId: null,
  }
}

function randomGroup(
  random: SeededRandom,
  { racks = false, uniform = false }: { racks?: boolean; uniform?: boolean } = {},
): Group {
  const topics = new Map<string, AssignorTopic>()
  const topicCount = 1 + random.integer(5)
  for (let i = 0; i < topicCount; i += 1) {
    const partitionCount = 1 + random.integer(8)
    const replicas = 1 + random.integer(3)
    topics.set(`t${i}`, {
      partitionCount,
      racks: Array.from({ length: partitionCount }, () =>
        Array.from({ length: replicas }, () => pick(random, RACKS)),
      ),
    })
  }
  // One that does not exist, too.
  const names = [...topics.keys(), 'gone']
  const memberCount = 1 + random.integer(7)
  const members = Array.from({ length: memberCount }, (_, i) => ({
    ...memberOf(
      `m${random.integer(1000)}-${i}`,
      uniform ? names : names.filter(() => random.integer(3) > 0),
    ),
    groupInstanceId: random.integer(3) === 0 ? `i${random.integer(1000)}-${i}` : null,
    rackId: racks && random.integer(5) > 0 ? pick(random, [...RACKS, 'd']) : null,
  }))
  return { topics, members }
}

function lineOf(assignor: Assignor, { topics, members }: Group): string {
  const lines = [`assignor\t${assignor.name}`]
  for (const [name, { racks = [] }] of topics) {
    lines.push(`topic\t${name}\t${racks.map((one) => one.join(',')).join(';')}`)
  }
  for (const member of members) {
    const owned = member.ownedPartitions.flatMap(({ topic, partitions }) =>
      partitions.map((partition) => `${topic}:${partition}`),
    )
    const words = [
      'member',
      member.memberId,
      member.groupInstanceId ?? '-',
      member.rackId ?? '-',
      member.topics.join(',') || '-',
      String(member.generationId),
      owned.join(',') || '-',
    ]
    lines.push(words.join('\t'))
  }
  return `${lines.join('\n')}\ngo\n`
}

/** The assignment as the Java program prints it. */
function textOf(assignment: Assignment): string {
  const ids = [...assignment.keys()].sort(compareStrings)
  return ids
    .map((id) => {
      const topics = assignment.get(id) as readonly TopicPartitions[]
      const parts = topics.map(({ topic, partitions }) => `${topic}=[${partitions.join(', ')}]`)
      return `${id} {${parts.join(', ')}}`
    })
    .join('\n')
}

function ownersOf(assignment: Assignment): Map<string, string> {
  const owners = new Map<string, string>()
  for (const [id, topics] of assignment) {
    for (const { topic, partitions } of topics) {
      for (const partition of partitions) {
        const key = `${topic}:${partition}`
        assert.equal(owners.get(key), undefined, `${key} is assigned twice`)
        owners.set(key, id)
      }
    }
  }
  return owners
}

/** The members as they would join again, owning what they were given. */
function afterwards(
  { topics, members }: Group,
  assignment: Assignment,
  generationId: number,
): Group {
  return {
    topics,
    members: members.map((member) => ({
      ...member,
      ownedPartitions: assignment.get(member.memberId) ?? member.ownedPartitions,
      generationId,
    })),
  }
}

function assertBalanced({ topics, members }: Group, assignment: Assignment): void {
  const owners = ownersOf(assignment)
  const load = (id: string): number => [...owners.values()].filter((one) => one === id).length
  for (const [name, { partitionCount }] of topics) {
    const subscribers = members.filter((member) => member.topics.includes(name))
    for (let partition = 0; partition < partitionCount; partition += 1) {
      const owner = owners.get(`${name}:${partition}`)
      if (subscribers.length === 0) {
        assert.equal(owner, undefined)
        continue
      }
      assert.ok(owner !== undefined, `${name}:${partition} is assigned to nobody`)
      assert.ok(subscribers.some((member) => member.memberId === owner))
      for (const { memberId } of subscribers) {
        assert.ok(load(owner) <= load(memberId) + 1, `${owner} has too many, ${memberId} too few`)
      }
    }
  }
}

/** Rebalances until nothing moves: one that takes away, one that hands over, rarely more. */
function settle(assignor: Assignor, group: Group, generation: number): [Group, Assignment] {
  let current = group
  for (let round = 0; round < 8; round += 1) {
    const assignment = assignor.assign(current.topics, current.members)
    const before = textOf(new Map(current.members.map((m) => [m.memberId, m.ownedPartitions])))
    current = afterwards(current, assignment, generation + round)
    if (round > 0 && textOf(assignment) === before) return [current, assignment]
  }
  return assert.fail('the group does not come to rest')
}

test('range and round-robin share out as Apache Kafka does', (t) => {
  const jar = jarToRun(t, '3.9.1')
  if (jar === null) return
  t.diagnostic(`seed ${seed}`)
  const random = new SeededRandom(seed)
  const cases: { assignor: Assignor; group: Group }[] = []
  for (let i = 0; i < 1500; i += 1) {
    const assignor = i % 3 === 0 ? new RoundRobinAssignor() : new RangeAssignor()
    const uniform = random.integer(2) === 0
    cases.push({ assignor, group: randomGroup(random, { racks: i % 3 === 2, uniform }) })
  }
  const input = cases.map(({ assignor, group }) => lineOf(assignor, group)).join('')
  const output = runJava(jar, 'AssignorOracle.java', Buffer.from(input)).toString()
  const answers = output.split('\n\n')
  for (const [i, { assignor, group }] of cases.entries()) {
    const mine = textOf(assignor.assign(group.topics, group.members))
    assert.equal(mine, answers[i], lineOf(assignor, group))
  }
})

test('cooperative-sticky keeps at least as much as Apache Kafka, in groups of one subscription', (t) => {
  const jar = jarToRun(t, '3.9.1')
  if (jar === null) return
  t.diagnostic(`seed ${seed}`)
  const random = new SeededRandom(seed)
  const assignor = new CooperativeStickyAssignor()
  const groups: Group[] = []
  for (let i = 0; i < 500; i += 1) {
    const [settled] = settle(assignor, randomGroup(random, { uniform: true }), 1)
    const [first, ...others] = settled.members as [AssignorMember, ...AssignorMember[]]
    const newcomer = memberOf('new', first.topics)
    const leaves = random.integer(2) === 0
    groups.push({
      ...settled,
      members: leaves ? [...others, newcomer] : [...settled.members, newcomer],
    })
  }
  const input = groups.map((group) => lineOf(assignor, group)).join('')
  const output = runJava(jar, 'AssignorOracle.java', Buffer.from(input)).toString()
  const answers = output.split('\n\n')
  for (const [i, group] of groups.entries()) {
    const mine = ownersOf(assignor.assign(group.topics, group.members))
    const text = answers[i] as string
    const theirs = new Map<string, string>()
    for (const [, id, topics] of text.matchAll(/^(\S+) \{(.*)\}$/gm)) {
      for (const [, topic, list] of (topics as string).matchAll(/(\w+)=\[([\d, ]+)\]/g)) {
        for (const p of (list as string).split(', ')) theirs.set(`${topic}:${p}`, id as string)
      }
    }
    const before = ownersOf(new Map(group.members.map((m) => [m.memberId, m.ownedPartitions])))
    const kept = (after: ReadonlyMap<string, string>): number =>
      [...before].filter(([key, id]) => after.get(key) === id).length
    assert.ok(kept(mine) >= kept(theirs), lineOf(assignor, group))
    assert.equal(mine.size, theirs.size, lineOf(assignor, group))
  }
})

test('cooperative-sticky is valid, balanced, and takes nothing that another still owns', (t) => {
  t.diagnostic(`seed ${seed}`)
  const random = new SeededRandom(seed)
  const assignor = new CooperativeStickyAssignor()
  for (let run = 0; run < 500; run += 1) {
    let group = randomGroup(random, { uniform: run % 2 === 0 })
    let generation = 1
    for (let step = 0; step < 5; step += 1) {
      const assignment = assignor.assign(group.topics, group.members)
      const owners = ownersOf(assignment)
      for (const member of group.members) {
        for (const { topic, partitions } of member.ownedPartitions) {
          for (const partition of partitions) {
            const owner = owners.get(`${topic}:${partition}`) ?? member.memberId
            const rival = group.members.find(({ memberId }) => memberId === owner)
            assert.ok(
              owner === member.memberId ||
                (rival as AssignorMember).generationId > member.generationId,
              `${topic}:${partition} went from ${member.memberId} to ${owner}`,
            )
          }
        }
      }
      const [settled, second] = settle(assignor, group, generation)
      assertBalanced(settled, second)
      // Nothing changes when nothing has changed.
      assert.equal(textOf(assignor.assign(settled.topics, settled.members)), textOf(second))
      generation += 10
      group = changed(random, settled, step)
    }
  }
})

/** Someone leaves, comes, subscribes to something else, or has missed the last generation. */
function changed(random: SeededRandom, group: Group, step: number): Group {
  const members = [...group.members]
  const names = [...group.topics.keys()]
  switch (random.integer(4)) {
    case 0:
      if (members.length > 1) members.splice(random.integer(members.length), 1)
      break
    case 1:
      members.push(memberOf(`new${step}`, names))
      break
    case 2: {
      const at = random.integer(members.length)
      const member = members[at] as AssignorMember
      members[at] = { ...member, topics: names.filter(() => random.integer(2) === 0) }
      break
    }
    default: {
      const owned = (members[0] as AssignorMember).ownedPartitions
      members.push({ ...memberOf(`late${step}`, names), ownedPartitions: owned, generationId: 0 })
    }
  }
  return { topics: group.topics, members }
}

test('what two members own in one generation is first taken from both', () => {
  const assignor = new CooperativeStickyAssignor()
  const topics = new Map([['t', { partitionCount: 2 }]])
  const owned = { ownedPartitions: [{ topic: 't', partitions: [0] }], generationId: 3 }
  const members = [
    { ...memberOf('a', ['t']), ...owned },
    { ...memberOf('b', ['t']), ...owned },
  ]
  assert.equal(textOf(assignor.assign(topics, members)), 'a {}\nb {t=[1]}')
})

test('members that only have user data tell their generation there', () => {
  const assignor = new CooperativeStickyAssignor()
  const topics = new Map([['t', { partitionCount: 1 }]])
  const owned = [{ topic: 't', partitions: [0] }]
  const members = [
    { ...memberOf('a', ['t']), ownedPartitions: owned, userData: assignor.userData(3) },
    { ...memberOf('b', ['t']), ownedPartitions: owned, userData: assignor.userData(4) },
  ]
  assert.equal(textOf(assignor.assign(topics, members)), 'a {}\nb {t=[0]}')
})

test('a thousand members share ten thousand partitions', (t) => {
  const assignor = new CooperativeStickyAssignor()
  const topics = new Map(
    Array.from({ length: 100 }, (_, i) => [`t${i}`, { partitionCount: 100 }] as const),
  )
  const names = [...topics.keys()]
  const group = {
    topics,
    members: Array.from({ length: 1000 }, (_, i) => memberOf(`m${i}`, names)),
  }
  const [settled] = settle(assignor, group, 1)
  const fewer = { topics, members: settled.members.slice(1) }
  const started = performance.now()
  const owners = ownersOf(assignor.assign(fewer.topics, fewer.members))
  t.diagnostic(`${(performance.now() - started).toFixed()} ms`)
  assert.equal(owners.size, 10_000)
})
