import { spawn } from 'node:child_process'

/**
 * Tells systemd how the daemon is (`READY=1`, `STOPPING=1`, `STATUS=…`), where systemd asked to be told. Node has no unix
 * datagram sockets, so systemd's own program does it; a host without it goes without.
 */
export function sdNotify(...states: string[]): Promise<void> {
  if (!process.env.NOTIFY_SOCKET) return Promise.resolve()
  return new Promise(resolve => {
    const child = spawn('systemd-notify', [`--pid=${process.pid}`, ...states], { stdio: 'ignore' })
    child.once('error', () => resolve())
    child.once('exit', () => resolve())
  })
}
