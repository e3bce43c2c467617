/** What the network hands up: a frame, and how to answer it. Knows no API. */
import type { Connection } from './connection.ts'

export interface Frame {
  readonly connection: Connection
  /** Place in the order of its connection's requests. */
  readonly sequence: number
  /** Without the length prefix. */
  readonly bytes: number
  readonly apiKey: number
  readonly apiVersion: number
  readonly correlationId: number
}

/**
 * Answers a frame through the transport. A returned promise holds back the later frames of the
 * connection until it settles; without one they go on at once, and answers still leave in order.
 * A rejection or an exception closes the connection.
 */
export type RequestHandler = (frame: Frame) => void | Promise<void>

/** The client broke the protocol: its connection is closed, with one log line. */
export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation'
}
