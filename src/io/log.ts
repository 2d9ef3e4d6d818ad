import { destination, type Logger, pino, stdTimeFunctions } from 'pino'
import type { Log, LogFields } from '../ports/log.js'

export const logLevels = ['error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof logLevels)[number]

/** One JSON line per event on standard output, written within the turn, so that a process that dies loses next to none. */
export function openLog({ name, level }: { name: string; level: LogLevel }): Log {
  const options = {
    base: { name },
    level,
    messageKey: 'event',
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
  }
  const logger = pino(options, destination({ dest: 1, sync: true }))
  return logOf(logger)
}

const logOf = (logger: Logger): Log => ({
  error: (event, fields) => logger.error(fields ?? {}, event),
  warn: (event, fields) => logger.warn(fields ?? {}, event),
  info: (event, fields) => logger.info(fields ?? {}, event),
  debug: (event, fields) => logger.debug(fields ?? {}, event),
  child: (fields: LogFields) => logOf(logger.child(fields)),
})
