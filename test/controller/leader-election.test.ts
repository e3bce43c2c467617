/** The rules of elections, as tables; and a model of what an eligible replica must have. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  alterIsr,
  type Electorate,
  electOffline,
  electPreferred,
  electTarget,
  initialState,
  isLeaderFit,
  leaveAssignment,
  leaveForShutdown,
  shrinkToOnline,
} from '../../src/controller/leader-election.ts'
import type { PartitionState } from '../../src/registry/cluster-registry.ts'

interface Brokers {
  readonly replicas?: readonly number[]
  readonly online: readonly number[]
  readonly stopping?: readonly number[]
  readonly unreachable?: readonly number[]
  /** Broker ids to their epochs. */
  readonly lost?: Readonly<Record<number, number>>
  readonly isrMin?: number
}

function electorate(brokers: Brokers): Electorate {
  return {
    replicas: brokers.replicas ?? [1, 2, 3],
    isOnline: (id) => brokers.online.includes(id),
    isShuttingDown: (id) => brokers.stopping?.includes(id) ?? false,
    isReachable: (id) => !(brokers.unreachable?.includes(id) ?? false),
    lostTail: (id) => (brokers.online.includes(id) ? (brokers.lost?.[id] ?? null) : undefined),
    controllerEpoch: 9,
    isrMin: brokers.isrMin ?? 1,
  }
}

/** `leader/epoch isr`, then `elr`. */
function parse(text: string): PartitionState {
  const [, leader, leaderEpoch, isr, elr] =
    /^(-?\d+)\/(\d+) ([\d,]+)(?: elr ([\d,]+))?/.exec(text) ?? []
  const ids = (list: string | undefined): number[] => (list ?? '').split(',').map(Number)
  return {
    leader: Number(leader),
    leaderEpoch: Number(leaderEpoch),
    isr: ids(isr),
    controllerEpoch: 1,
    ...(elr === undefined ? {} : { eligibleLeaders: ids(elr) }),
  }
}

function format(state: PartitionState | null): string | null {
  if (state === null) return null
  assert.equal(state.controllerEpoch, 9)
  const elr = state.eligibleLeaders?.length ? ` elr ${state.eligibleLeaders.join()}` : ''
  const rejoined = [...(state.rejoined ?? [])].map(([id, epoch]) => ` ${id}@${epoch}`).join('')
  const recovering = state.isRecovering ? ' recovering' : ''
  return `${state.leader}/${state.leaderEpoch} ${state.isr.join()}${elr}${rejoined}${recovering}`
}

test('the first state: replicas that are online, the first of them leads', () => {
  assert.equal(format(initialState(electorate({ online: [3, 2] }))), '2/0 2,3')
  assert.equal(format(initialState(electorate({ online: [2, 3], stopping: [2] }))), '3/0 2,3')
  assert.equal(format(initialState(electorate({ online: [2], stopping: [2] }))), '2/0 2')
  assert.equal(initialState(electorate({ online: [] })), null)
})

test('a leader that is gone: by assignment from the ISR, the eligible, or anybody if unclean', () => {
  const rows: [string, Brokers, string | null, string | null][] = [
    ['1/4 1,2,3', { online: [2, 3] }, '2/5 2,3', '2/5 2,3'],
    ['1/4 3,2,1', { online: [2, 3] }, '2/5 3,2', '2/5 3,2'],
    ['1/4 1,3', { online: [2, 3] }, '3/5 3', '3/5 3'],
    ['1/4 1', { online: [2, 3] }, '-1/5 1', '2/5 2 recovering'],
    ['-1/4 1', { online: [2, 3] }, null, '2/5 2 recovering'],
    ['-1/4 1', { online: [1, 2] }, '1/5 1', '1/5 1'],
    // All of them are dead: any who comes back has everything.
    ['1/4 1,2', { online: [] }, '-1/5 1,2', '-1/5 1,2'],
    ['1/4 1,2', { online: [2], stopping: [2] }, '-1/5 2', '-1/5 2'],
    ['1/4 1,2', { online: [2, 3], isrMin: 2 }, '2/5 2 elr 1', '2/5 2 elr 1'],
    // Nothing was committed since 3 left, and 1 may have lost nothing either.
    ['1/4 1 elr 3', { online: [2, 3], isrMin: 2 }, '3/5 3 elr 1', '3/5 3 elr 1'],
    ['1/4 1 elr 3', { online: [2], isrMin: 2 }, '-1/5 1 elr 3', '2/5 2 recovering'],
    // A minimum above the number of replicas is that number.
    ['1/4 1,2', { replicas: [1, 2], online: [2], isrMin: 5 }, '2/5 2 elr 1', '2/5 2 elr 1'],
    // Came back without what it had not synced.
    ['1/4 1,2', { online: [1, 2], lost: { 1: 70 } }, '2/5 2', '2/5 2'],
    ['1/4 1,2', { online: [1], lost: { 1: 70 } }, '-1/5 2', '1/5 1 recovering'],
    ['1/4 1', { online: [1, 2], lost: { 1: 70 } }, '1/5 1 1@70', '1/5 1 1@70'],
    ['1/4 1 elr 2', { online: [1, 2], lost: { 1: 70 }, isrMin: 2 }, '2/5 2', '2/5 2'],
    ['1/4 1 elr 2', { online: [1], lost: { 1: 70 }, isrMin: 2 }, '-1/5 2', '1/5 1 recovering'],
    ['1/4 1 elr 2', { online: [1, 2], lost: { 1: 7, 2: 8 }, isrMin: 2 }, '1/5 1 1@7', '1/5 1 1@7'],
  ]
  for (const [before, brokers, clean, unclean] of rows) {
    const state = parse(before)
    const what = `${before} ${JSON.stringify(brokers)}`
    assert.equal(format(electOffline(state, electorate(brokers), false)), clean, what)
    assert.equal(format(electOffline(state, electorate(brokers), true)), unclean, what)
  }
})

test('members that are not online leave the ISR, but never the last or the leader', () => {
  const rows: [string, Brokers, string | null][] = [
    ['1/4 1,2,3', { online: [1, 3] }, '1/5 1,3'],
    ['1/4 1,2,3', { online: [1, 2, 3] }, null],
    ['1/4 1,2', { online: [1], isrMin: 2 }, '1/5 1 elr 2'],
    ['1/4 1,2,3', { online: [1], isrMin: 3 }, '1/5 1 elr 2,3'],
    ['-1/4 1,2', { online: [] }, null],
    ['1/4 1,2', { online: [1, 2], lost: { 2: 5 } }, '1/5 1'],
    ['1/4 1 elr 2', { online: [1, 2], lost: { 2: 5 }, isrMin: 2 }, '1/5 1'],
  ]
  for (const [before, brokers, after] of rows) {
    const state = parse(before)
    assert.equal(format(shrinkToOnline(state, electorate(brokers))), after, before)
  }
})

test('preferred leaders, targets of a move, and brokers that want to stop', () => {
  const preferred = (before: string, brokers: Brokers) =>
    format(electPreferred(parse(before), electorate(brokers)))
  assert.equal(preferred('2/4 2,1', { online: [1, 2] }), '1/5 2,1')
  assert.equal(preferred('2/4 2', { online: [1, 2] }), null)
  assert.equal(preferred('2/4 2,1', { online: [2] }), null)
  assert.equal(preferred('2/4 2,1', { online: [1, 2], stopping: [1] }), null)
  assert.equal(preferred('2/4 2,1', { online: [1, 2], lost: { 1: 3 } }), null)
  assert.equal(preferred('2/4 2,1', { online: [1, 2], unreachable: [1] }), null)
  assert.equal(preferred('2/4 2,1', { online: [1, 2], unreachable: [2] }), '1/5 2,1')

  const leave = (before: string, brokers: Brokers, id: number) =>
    format(leaveForShutdown(parse(before), electorate(brokers), id))
  const all = { online: [1, 2, 3] }
  assert.equal(leave('1/4 1,2,3', { ...all, stopping: [1] }, 1), '2/5 2,3')
  assert.equal(leave('1/4 1,2,3', { ...all, stopping: [1, 2] }, 1), '3/5 3')
  assert.equal(leave('2/4 1,2,3', { ...all, stopping: [1, 2] }, 1), '2/5 2,3')
  assert.equal(leave('1/4 1', { ...all, stopping: [1] }, 1), null)
  assert.equal(leave('1/4 1,2', { online: [1], stopping: [1] }, 1), null)
  assert.equal(leave('2/4 2', { ...all, stopping: [1] }, 1), null)
  assert.equal(leave('1/4 1,2', { ...all, stopping: [1], isrMin: 2 }, 1), '2/5 2 elr 1')

  const target = electTarget(parse('1/4 1,2,3'), electorate(all), [3, 2])
  assert.equal(format(target), '3/5 1,2,3')
  const left = leaveAssignment(parse('3/4 1,2,3'), electorate(all), [1, 2])
  assert.equal(format(left), '3/5 3')
  assert.equal(format(leaveAssignment(parse('1/4 1,3'), electorate(all), [1])), '-1/5 3')
  assert.equal(leaveAssignment(parse('1/4 1'), electorate(all), [1]), null)
  assert.equal(leaveAssignment(parse('1/4 1'), electorate(all), [3]), null)
})

test('the eligible come from the ISR below the minimum, and go when it is reached again', () => {
  const brokers = electorate({ online: [1, 2, 3], isrMin: 2 })
  const alter = (state: PartitionState, isr: number[]) =>
    alterIsr(state, brokers, { isr, isRecovering: false })
  let state = alter(parse('1/4 1,2,3'), [1, 2])
  assert.equal(format(state), '1/4 1,2')
  state = alter(state, [1])
  assert.equal(format(state), '1/4 1 elr 2')
  assert.equal(format(alter(state, [1, 3])), '1/4 1,3')
  const three = electorate({ online: [1, 2, 3], isrMin: 3 })
  state = alterIsr(parse('1/4 1 elr 2,3'), three, { isr: [1, 2], isRecovering: false })
  assert.equal(format(state), '1/4 1,2 elr 3')
})

test('a lost tail counts once: who has caught up since is as good as any', () => {
  const brokers = electorate({ online: [1, 2, 3], lost: { 2: 70 } })
  const joined = alterIsr(parse('1/4 1'), brokers, { isr: [1, 2], isRecovering: false })
  assert.equal(format(joined), '1/4 1,2 2@70')
  assert.equal(shrinkToOnline(joined, brokers), null)
  const elected = electOffline(joined, electorate({ online: [2], lost: { 2: 70 } }), false)
  assert.equal(format(elected), '2/5 2 2@70')
  assert.ok(isLeaderFit(elected as PartitionState, electorate({ online: [2], lost: { 2: 70 } })))
  const again = electorate({ online: [1, 2], lost: { 2: 71 } })
  assert.equal(isLeaderFit(elected as PartitionState, again), false)
  assert.equal(format(shrinkToOnline(joined, again)), '1/5 1')
})

/**
 * Brokers die, lose what they have not synced, come back and catch up; whoever leads without an
 * unclean election has every record that was committed with the minimum of in-sync replicas, as long
 * as not all that had it have lost it.
 */
test('no committed record is missing from a leader that was elected cleanly', () => {
  const command = fc.record({
    kind: fc.constantFrom('die', 'lose', 'return', 'lag', 'join', 'write', 'write'),
    broker: fc.integer({ min: 1, max: 3 }),
  })
  fc.assert(
    fc.property(
      fc.array(command, { maxLength: 60 }),
      fc.integer({ min: 1, max: 3 }),
      (commands, isrMin) => {
        const online = new Set([1, 2, 3])
        const lost = new Map<number, number>()
        const logs = new Map([1, 2, 3].map((id) => [id, new Set<number>()]))
        const committed = new Set<number>()
        let epoch = 100
        let record = 0
        const now = () =>
          electorate({ online: [...online], lost: Object.fromEntries(lost), isrMin })
        let state = initialState(now()) as PartitionState
        const elect = (): void => {
          const before = state
          if (!isLeaderFit(state, now())) state = electOffline(state, now(), false) ?? state
          state = shrinkToOnline(state, now()) ?? state
          const { leader } = state
          const loss = now().lostTail(leader)
          if (typeof loss !== 'number' || before.rejoined?.get(leader) === loss) return
          if (leader === before.leader && state.leaderEpoch === before.leaderEpoch) return
          // It leads although it has lost records: nobody else was left who had them.
          const others = [...before.isr, ...(before.eligibleLeaders ?? [])]
          assert.ok(
            others.every((id) => online.has(id) && lost.has(id)),
            others.join(),
          )
          for (const one of committed) if (!logs.get(leader)?.has(one)) committed.delete(one)
        }
        for (const { kind, broker } of commands) {
          const log = logs.get(broker) as Set<number>
          if (kind === 'die' || kind === 'lose') {
            online.delete(broker)
            lost.delete(broker)
            if (kind === 'lose') log.clear()
            if (kind === 'lose') lost.set(broker, epoch)
          } else if (kind === 'return' && !online.has(broker)) {
            epoch += 1
            if (log.size === 0) lost.set(broker, epoch)
            online.add(broker)
          } else if (kind === 'lag' && state.leader !== -1 && broker !== state.leader) {
            const isr = state.isr.filter((id) => id !== broker)
            if (isr.length < state.isr.length)
              state = alterIsr(state, now(), { isr, isRecovering: false })
          } else if (
            kind === 'join' &&
            state.leader !== -1 &&
            online.has(broker) &&
            !state.isr.includes(broker)
          ) {
            const leading = logs.get(state.leader) as Set<number>
            logs.set(broker, new Set(leading))
            state = alterIsr(state, now(), { isr: [...state.isr, broker], isRecovering: false })
          } else if (kind === 'write' && state.leader !== -1) {
            record += 1
            logs.get(state.leader)?.add(record)
            if (state.isr.length >= isrMin) {
              for (const id of state.isr) if (online.has(id)) logs.get(id)?.add(record)
              if (state.isr.every((id) => online.has(id))) committed.add(record)
            }
          }
          elect()
          if (state.leader === -1) continue
          const leading = logs.get(state.leader) as Set<number>
          for (const one of committed) {
            assert.ok(leading.has(one), `${one} is missing from ${state.leader}`)
          }
        }
      },
    ),
    { numRuns: 1000 },
  )
})
