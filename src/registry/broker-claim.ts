/**
 * Registering under a broker id that may still be taken: by an earlier life of this broker, whose
 * session has not ended yet, or by another broker that was given the same id.
 */
import { connect } from 'node:net'
import type { Logger } from '../util/logger.ts'
import type { TimerQueue } from '../util/timer-queue.ts'
import {
  type BrokerRegistration,
  type ClusterRegistry,
  type RegisteredEndpoint,
  RegistryError,
} from './cluster-registry.ts'

const PROBE_MS = 1000

export interface BrokerClaim {
  readonly registry: ClusterRegistry
  readonly registration: BrokerRegistration
  /** How long an old session may take to end. */
  readonly patienceMs: number
  readonly timers: TimerQueue
  readonly logger: Logger
}

/**
 * Registers the broker; its epoch. If the id is taken by a broker that answers elsewhere it throws
 * at once, otherwise when the registration does not go in time: a RegistryError of one line.
 */
export async function claimBrokerId(claim: BrokerClaim): Promise<number> {
  const { registry, registration, logger } = claim
  const { brokerId } = registration
  for (let isFirst = true; ; isFirst = false) {
    const result = await registry.registerBroker(registration)
    if (result.ok && result.brokerEpoch !== undefined) return result.brokerEpoch
    const holder = await registry.broker(brokerId)
    if (holder === null) continue
    const place = holder.endpoints.map(({ host, port }) => `${host}:${port}`).join(', ')
    const others = holder.endpoints.filter((one) => !isAmong(one, registration.endpoints))
    if ((await Promise.all(others.map(answers))).includes(true)) throw inUse(brokerId, place)
    if (isFirst) {
      logger.warn({ brokerId, place }, 'waiting for the session of an earlier registration to end')
    }
    await untilGone(claim, place)
  }
}

function inUse(brokerId: number, place: string): RegistryError {
  return new RegistryError(
    'unavailable',
    `broker.id ${brokerId} is in use: a broker with it is registered at ${place}`,
  )
}

function isAmong(one: RegisteredEndpoint, ours: readonly RegisteredEndpoint[]): boolean {
  return ours.some(({ host, port }) => host === one.host && port === one.port)
}

function untilGone(claim: BrokerClaim, place: string): Promise<void> {
  const { registry, registration, patienceMs, timers } = claim
  const { brokerId } = registration
  return new Promise((gone, fail) => {
    const timer = timers.schedule(patienceMs, () => {
      unwatch()
      fail(inUse(brokerId, place))
    })
    const unwatch = registry.watchBroker(brokerId, (broker) => {
      if (broker !== null) return
      timer.cancel()
      unwatch()
      gone()
    })
  })
}

/** Whether somebody takes connections there. */
function answers({ host, port }: RegisteredEndpoint): Promise<boolean> {
  return new Promise((found) => {
    const socket = connect({ host, port, timeout: PROBE_MS })
    const settle = (is: boolean): void => {
      socket.destroy()
      found(is)
    }
    socket.once('connect', () => settle(true))
    socket.once('timeout', () => settle(false))
    socket.once('error', () => settle(false))
  })
}
