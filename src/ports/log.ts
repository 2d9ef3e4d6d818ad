/** Structured log: an event with a name and typed fields. Each daemon adds its own events to `LogEvents` in its folder. */
export interface Log {
  error(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  info(event: string, fields?: LogFields): void
  debug(event: string, fields?: LogFields): void
  /** A log whose lines all carry `fields`. */
  child(fields: LogFields): Log
}
export type LogFields = Record<string, unknown>

export const silentLog: Log = {
  error() {},
  warn() {},
  info() {},
  debug() {},
  child: () => silentLog,
}
