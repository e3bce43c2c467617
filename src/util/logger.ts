/** Logging: pino behind a small interface; one child per room. */
import type { Logger as Pino } from 'pino'
import { onFirstUse } from './on-first-use.ts'

export interface Logger {
  child(bindings: Record<string, unknown>): Logger
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** From the least important one on. */
const LEVELS: readonly string[] = ['debug', 'info', 'warn', 'error']

const pinoPackage = onFirstUse<typeof import('pino')>('pino')

/**
 * Loads what writes the lines, which otherwise the first line does. A broker does it once it serves:
 * it is ready sooner without, but the first line may be about a lack of file descriptors.
 */
export function loadLogWriter(): void {
  pinoPackage()
}

/** JSON lines on standard error, so that standard output keeps the lines meant for people. */
export function createLogger(level: string): Logger {
  return lateLogger(LEVELS.indexOf(level), () => {
    const { pino } = pinoPackage()
    return pino({ level, base: null }, pino.destination({ fd: 2, sync: true }))
  })
}

function lateLogger(least: number, open: () => Pino): Logger {
  let opened: Pino | null = null
  const logger = (): Pino => {
    opened ??= open()
    return opened
  }
  const [debug, info, warn, error] = LEVELS.map((_, level) => level >= least)
  return {
    child: (bindings) => lateLogger(least, () => logger().child(bindings)),
    debug: (fields, message) => debug && logger().debug(fields, message),
    info: (fields, message) => info && logger().info(fields, message),
    warn: (fields, message) => warn && logger().warn(fields, message),
    error: (fields, message) => error && logger().error(fields, message),
  }
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
