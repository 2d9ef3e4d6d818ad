import { access, constants, mkdtemp } from 'node:fs/promises'
import { basename, join } from 'node:path'
import type { Target, TargetPlace } from '../runner/target.js'
import { startNbdServer } from './nbd-servers.js'
import { runToEnd } from './programs.js'

/**
 * What `--peers` names: `qemu-nbd`, `nbdkit`, an NBD URI (`LABEL=nbd+unix:///?socket=…`) of a server that runs already, or a
 * program (`LABEL=PATH`) that sets a system up and answers `start`, `stop`, `fio`, `pids`, `info` and `clean` (options in PEER_…;
 * fio's options one a line). The system of a program runs only while it is measured.
 */
export async function startPeer(what: string, place: TargetPlace): Promise<Target> {
  if (what === 'qemu-nbd' || what === 'nbdkit') return startNbdServer(what, place)
  const [, label, where] = /^(?:([\w.+-]+)=)?(.*)$/s.exec(what)!
  if (/^nbds?(\+unix)?:\/\//.test(where!)) return nbdUri(label ?? 'peer', where!)
  await access(where!, constants.X_OK)
  return startProgram(label ?? basename(where!), where!, place)
}

const nbdUri = (name: string, uri: string): Target => ({
  name,
  info: uri,
  fio: () => ['--ioengine=nbd', `--uri=${uri}`],
  processes: () => [],
  settle: async () => {},
  stop: async () => {},
})

async function startProgram(name: string, program: string, { directory, rangeBytes }: TargetPlace): Promise<Target> {
  const env = {
    PEER_DIR: await mkdtemp(join(directory, `${name}-`)),
    PEER_SIZE_MIB: String(Math.max(4096, rangeBytes / 2 ** 20)),
  }
  const ask = (verb: string) => runToEnd(program, [verb], env)
  try {
    await ask('start')
    const lines = (text: string) => text.split('\n').filter(line => line !== '')
    const answer = lines(await ask('fio'))
    const options = answer.filter(line => !line.startsWith('env:'))
    const variables = answer.flatMap(line => [...line.matchAll(/^env:([^=]+)=(.*)$/g)])
    const fioEnv = Object.fromEntries(variables.map(found => [found[1], found[2]]))
    const processes = async () => lines(await ask('pids')).map(pid => ({ role: 'server', pid: Number(pid) }))
    let running = await processes()
    const info = (await ask('info')).trim().replaceAll('\n', ', ')
    return {
      name,
      info,
      fio: () => options,
      fioEnv,
      processes: () => running,
      settle: async () => {},
      rest: async () => void (await ask('stop')),
      wake: async () => {
        await ask('start')
        running = await processes()
      },
      stop: async () => void (await ask('clean')),
    }
  } catch (error) {
    await ask('clean').catch(() => {})
    throw error
  }
}
