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

/** Takes what is told for information as something for debugging. */
export function quieter(logger: Logger): Logger {
  return {
    child: (bindings) => quieter(logger.child(bindings)),
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.debug(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
  }
}

/** Swallows everything: for embedding and tests. */
export const silentLogger: Logger = {
  child: () => silentLogger,
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
}
