/** TimerQueue against a model, on a clock that only the test moves; and once on the real one. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ManualClock, systemClock } from '../../src/util/clock.ts'
import { type Timer, TimerQueue } from '../../src/util/timer-queue.ts'

interface Modelled {
  readonly number: number
  readonly deadlineMs: number
  readonly timer: Timer
}

type Step =
  | { readonly kind: 'schedule'; readonly delayMs: number }
  | { readonly kind: 'cancel'; readonly which: number }
  | { readonly kind: 'cancelMost' }
  | { readonly kind: 'advance'; readonly ms: number }

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('schedule'), delayMs: fc.nat(1000) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('cancel'), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cancelMost') }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('advance'), ms: fc.nat(400) }) },
) as fc.Arbitrary<Step>

test('any schedule, cancel and advance runs what a list sorted by deadline would run', () => {
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 400, size: 'max' }), (steps) => {
      const clock = new ManualClock()
      const queue = new TimerQueue(clock)
      let pending: Modelled[] = []
      const ran: number[] = []
      let scheduled = 0
      const cancel = (one: Modelled): void => {
        one.timer.cancel()
        one.timer.cancel()
        pending = pending.filter((other) => other !== one)
      }
      try {
        for (const step of steps) {
          if (step.kind === 'schedule') {
            const number = scheduled
            scheduled += 1
            const timer = queue.schedule(step.delayMs, () => ran.push(number))
            pending.push({ number, deadlineMs: clock.monotonicMs() + step.delayMs, timer })
          } else if (step.kind === 'cancel') {
            const one = pending[step.which % pending.length]
            if (one !== undefined) cancel(one)
          } else if (step.kind === 'cancelMost') {
            for (const one of pending.filter(({ number }) => number % 8 !== 0)) cancel(one)
          } else {
            ran.length = 0
            clock.advance(step.ms)
            const due = pending.filter(({ deadlineMs }) => deadlineMs <= clock.monotonicMs())
            pending = pending.filter((one) => !due.includes(one))
            // Equal deadlines come in any order; earlier ones first.
            const deadlineOf = new Map(due.map((one) => [one.number, one.deadlineMs]))
            assert.deepEqual([...ran].sort(ascending), due.map((one) => one.number).sort(ascending))
            const order = ran.map((number) => deadlineOf.get(number) as number)
            assert.deepEqual(order, [...order].sort(ascending))
            for (const { timer } of due) timer.cancel()
          }
          assert.equal(queue.size, pending.length)
        }
      } finally {
        queue.close()
      }
    }),
    { numRuns: 300 },
  )
})

test('a timer may schedule and cancel others while it runs', () => {
  const clock = new ManualClock()
  const queue = new TimerQueue(clock)
  const ran: string[] = []
  const victim = queue.schedule(20, () => ran.push('victim'))
  queue.schedule(10, () => {
    ran.push('first')
    victim.cancel()
    queue.schedule(0, () => ran.push('second'))
    queue.schedule(5, () => ran.push('third'))
  })
  clock.advance(30)
  assert.deepEqual(ran, ['first', 'second'])
  clock.advance(5)
  assert.deepEqual(ran, ['first', 'second', 'third'])
  assert.equal(queue.size, 0)
  queue.close()
})

test('a closed queue runs nothing', () => {
  const clock = new ManualClock()
  const queue = new TimerQueue(clock)
  queue.schedule(1, () => assert.fail('ran'))
  queue.close()
  clock.advance(10)
  assert.equal(queue.size, 0)
})

test('on the real clock the event loop runs it: an earlier one overtakes, none runs early', async () => {
  const queue = new TimerQueue(systemClock)
  const begin = systemClock.monotonicMs()
  const order: string[] = []
  await new Promise<void>((resolve) => {
    queue.schedule(30, () => {
      order.push('late')
      resolve()
    })
    queue.schedule(5, () => order.push('early'))
  })
  assert.deepEqual(order, ['early', 'late'])
  assert.ok(systemClock.monotonicMs() - begin >= 30)
  queue.close()
})

function ascending(a: number, b: number): number {
  return a - b
}
