import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/** Set in the environment of the program once it runs in namespaces of its own. */
const insideVariable = 'BLOCKMESH_SOAK_INSIDE'
export const isInside = (): boolean => process.env[insideVariable] === '1'

/** Why this host does not let us have network and mount namespaces of our own with links to cut; null: it does. */
export function namespacesUnavailable(): string | null {
  const probe = [
    'ip link set lo up',
    'ip link add a0 type veth peer name a1',
    'ip rule add pref 10 from 10.99.0.1 to 10.99.0.2 blackhole',
    'sysctl -q -w net.ipv4.ip_forward=1 || echo 1 > /proc/sys/net/ipv4/ip_forward',
  ]
  try {
    execFileSync('unshare', ['--net', '--mount', '--pid', '--fork', '--mount-proc', 'sh', '-ec', probe.join('\n')], {
      stdio: 'pipe',
    })
    return null
  } catch (error) {
    const { stderr, message } = error as { stderr?: Buffer; message: string }
    return `network namespaces are not permitted here: ${stderr?.toString().trim().split('\n')[0] || message}`
  }
}

/**
 * Runs this very program again in network, mount and process namespaces of its own, so that nothing of it outlives it,
 * whatever ends it; resolves with its exit code.
 */
export function runInside(): Promise<number> {
  const unshare = ['--net', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc']
  const args = ['--pdeathsig', 'KILL', 'unshare', ...unshare, process.execPath, ...process.argv.slice(1)]
  const child = spawn('setpriv', args, { stdio: 'inherit', env: { ...process.env, [insideVariable]: '1' } })
  // Ctrl-C reaches the program inside as well, which then ends in good order.
  process.on('SIGINT', () => {})
  process.on('SIGTERM', () => void child.kill('SIGKILL'))
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('exit', code => resolve(code ?? 70))
  })
}

/** In a namespace that is new. */
export const loopbackUp = () => ip('link set lo up')

/** Who does not reach whom; `to` null: nobody, and nobody it. */
export interface Cut {
  from: string
  to: string | null
  /** Only packets from `from` to `to` get lost. */
  isOneWay: boolean
}

/**
 * A network namespace for each process, joined by this program's own one, which routes between them and throws away what
 * a cut says. Nothing of it is visible on the host, and all of it goes with the processes.
 */
export class Network {
  readonly #holders = new Map<string, ChildProcess>()
  readonly #addresses = new Map<string, string>()
  #preference = 100

  /** `names` are those of the processes. */
  static async make(names: readonly string[]): Promise<Network> {
    const network = new Network()
    await loopbackUp()
    await shell('echo 1 > /proc/sys/net/ipv4/ip_forward')
    for (const [index, name] of names.entries()) await network.#add(name, index + 1)
    return network
  }

  addressOf(name: string): string {
    return this.#addresses.get(name)!
  }

  /** What to put before a command line so that it runs where `name` does. */
  prefixFor(name: string): string[] {
    return ['nsenter', `--net=/proc/${this.#holders.get(name)!.pid}/ns/net`]
  }

  /** Returns what heals it. */
  async cut({ from, to, isOneWay }: Cut): Promise<() => Promise<void>> {
    const a = this.addressOf(from)
    const ways =
      to === null
        ? [`from ${a}`, `to ${a}`]
        : [`from ${a} to ${this.addressOf(to)}`, ...(isOneWay ? [] : [`from ${this.addressOf(to)} to ${a}`])]
    const rules = ways.map(way => `pref ${this.#preference++} ${way}`)
    for (const rule of rules) await ip(`rule add ${rule} blackhole`)
    return async () => {
      for (const rule of rules) await ip(`rule del ${rule} blackhole`)
    }
  }

  close(): void {
    for (const holder of this.#holders.values()) holder.kill('SIGKILL')
  }

  async #add(name: string, number: number): Promise<void> {
    const holder = spawn('unshare', ['--net', 'sleep', 'infinity'], { stdio: 'ignore' })
    this.#holders.set(name, holder)
    this.#addresses.set(name, `10.77.${number}.2`)
    const own = readlinkSync('/proc/self/ns/net')
    while (readlinkSync(`/proc/${holder.pid}/ns/net`) === own) await new Promise(resolve => setTimeout(resolve, 5))
    const [near, far] = [`soak${number}`, `peer${number}`]
    await ip(`link add ${near} type veth peer name ${far}`)
    await ip(`link set ${far} netns ${holder.pid}`)
    await ip(`addr add 10.77.${number}.1/24 dev ${near}`)
    await ip(`link set ${near} up`)
    const there = [
      'ip link set lo up',
      `ip addr add 10.77.${number}.2/24 dev ${far}`,
      `ip link set ${far} up`,
      `ip route add default via 10.77.${number}.1`,
    ]
    const [program, ...args] = this.prefixFor(name)
    await execute(program!, [...args, 'sh', '-ec', there.join('\n')])
  }
}

const ip = (args: string) => execute('ip', args.split(' '))
const shell = (command: string) => execute('sh', ['-ec', command])
