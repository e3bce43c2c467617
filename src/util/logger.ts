/** Logging: pino behind a small interface; one child per room. */
import { type Logger as Pino, pino } from 'pino'

export interface Logger {
  child(bindings: Record<string, unknown>): Logger
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** JSON lines on standard error, so that standard output keeps the lines meant for people. */
export function createLogger(level: string): Logger {
  const logger: Pino = pino({ level, base: null }, pino.destination({ fd: 2, sync: true }))
  return logger
}

/** Swallows everything: for embedding and tests. */
export const silentLogger: Logger = {
  child: () => silentLogger,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}
