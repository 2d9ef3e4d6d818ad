import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { StorageError } from '../base/errors.js'
import type { KernelAttach, KernelDevice, KernelNbd } from '../ports/kernel-nbd.js'
import {
  type AddonError,
  addon,
  addonErrorText,
  errnoName,
  isAddonError,
  type NbdRequest,
  nbdCommands,
} from './addon.js'
import { holdersOf } from './device-holders.js'

// The kernel sends unanswered requests again, or looks for a new socket, at each tick of this; it is no deadline, since
// the connection's own time-out is 0.
const ioTimeoutMs = 2000
const maxSectorsKib = 1024
// The kernel logs each refusal, so asking again slows down.
const pollMsMin = 20
const pollMsMax = 500
const busyMs = 5_000
const nodeMs = 10_000
const replaceMs = 5_000
const settingsMs = 500
const detachMs = 30_000

/** The kernel's NBD driver by generic netlink; see linux/nbd-netlink.h. */
export const kernelNbd: KernelNbd = {
  unavailable(): string | null {
    try {
      addon.nbdFamily()
      return null
    } catch (error) {
      if (!isAddonError(error)) return String(error)
      if (errnoName(error.errno) === 'ENOENT')
        return 'this kernel has no NBD driver loaded, or this is not the host network namespace; run modprobe nbd'
      return `the kernel's NBD driver cannot be asked: ${addonErrorText(error)}`
    }
  },

  async attach(options): Promise<KernelDevice> {
    const pairs = makePairs(options.connections)
    try {
      const index = await connect(options, pairs)
      await settle(index, options.sizeBytes)
      return { index, path: pathOf(index), socketFds: pairs.map(pair => pair.ours) }
    } catch (error) {
      for (const pair of pairs) addon.fdClose(pair.ours)
      throw error
    } finally {
      closeKernelEnds(pairs)
    }
  },

  async reconfigure(index, options): Promise<KernelDevice> {
    await applySettings(index)
    return { index, path: pathOf(index), socketFds: await replaceSockets(index, options) }
  },

  async resize(index, sizeBytes): Promise<void> {
    const identifier = await identifierOf(index)
    await ask(index, {
      command: nbdCommands.reconfigure,
      index,
      sizeBytes,
      ...(identifier === null ? {} : { identifier }),
    })
    if (!(await waitFor(async () => (await sizeBytesOf(index)) === sizeBytes, busyMs)))
      throw new StorageError('TIMED_OUT', { detail: 'the kernel did not take the new size', device: pathOf(index) })
  },

  async detach(index): Promise<void> {
    if (!(await isAttached(index))) return
    try {
      await request({ command: nbdCommands.disconnect, index })
    } catch (error) {
      // Somebody else was quicker; what counts is that the device becomes free.
      if (!isAddonError(error) || (await isAttached(index))) throw errorOf(index, error)
    }
    const isFree = async () => !(await isAttached(index)) && (await sizeBytesOf(index)) === 0
    if (await waitFor(isFree, detachMs)) return
    throw new StorageError('DEVICE_BUSY', {
      detail: 'the device is disconnected, but still open',
      device: pathOf(index),
      holders: await holdersOf(pathOf(index)),
      remedy: 'unmount it or end the processes that hold it',
    })
  },

  async attached(): Promise<{ index: number; identifier: string | null }[]> {
    const found: { index: number; identifier: string | null }[] = []
    for (const name of await readdir('/sys/block')) {
      const index = Number(/^nbd(\d+)$/.exec(name)?.[1] ?? -1)
      if (index >= 0 && (await isAttached(index))) found.push({ index, identifier: await identifierOf(index) })
    }
    return found.sort((a, b) => a.index - b.index)
  },
}

interface SocketPair {
  ours: number
  /** The kernel takes a reference of its own; this descriptor is closed when the request has been answered. */
  kernels: number
}

function makePairs(count: number): SocketPair[] {
  return Array.from({ length: count }, () => {
    const [ours, kernels] = addon.socketPair()
    return { ours, kernels }
  })
}

function closeKernelEnds(pairs: readonly SocketPair[]): void {
  for (const pair of pairs) addon.fdClose(pair.kernels)
}

/** A device that was just let go can stay busy for a moment: udev looks at it once more. */
async function connect(options: KernelAttach, pairs: readonly SocketPair[]): Promise<number> {
  const command: NbdRequest = {
    command: nbdCommands.connect,
    ...(options.index === null ? {} : { index: options.index }),
    sizeBytes: options.sizeBytes,
    blockBytes: options.blockBytes,
    timeoutSec: 0,
    deadConnectionTimeoutSec: Math.ceil(options.deadConnectionTimeoutMs / 1000),
    serverFlags: options.transmissionFlags,
    socketFds: pairs.map(pair => pair.kernels),
    identifier: options.identifier,
  }
  let index = -1
  const isConnected = await waitFor(async () => {
    try {
      index = await request(command)
      return true
    } catch (error) {
      if (isAddonError(error) && errnoName(error.errno) === 'EBUSY') return false
      throw errorOf(options.index, error)
    }
  }, busyMs)
  if (isConnected) return index === -1 ? options.index! : index
  if (options.index === null)
    throw new StorageError('DEVICE_BUSY', {
      detail: 'the kernel has no free NBD device',
      remedy: 'raise nbds_max of the module',
    })
  const device = pathOf(options.index)
  const servedBy = await servingProcess(options.index)
  throw new StorageError('DEVICE_BUSY', {
    device,
    ...(servedBy === null ? { holders: await holdersOf(device) } : { attachedByProcess: servedBy }),
    remedy: 'detach it, or take another index',
  })
}

/** What a device needs between CONNECT and its first user; undone if it does not come to be. */
async function settle(index: number, sizeBytes: number): Promise<void> {
  try {
    await applySettings(index)
    if (!(await waitFor(async () => (await isBlockDevice(index)) && (await sizeBytesOf(index)) === sizeBytes, nodeMs)))
      throw new StorageError('TIMED_OUT', {
        detail: 'the device was connected, but did not appear with its size',
        device: pathOf(index),
        remedy: 'see whether udev or devtmpfs makes device nodes',
      })
  } catch (error) {
    await request({ command: nbdCommands.disconnect, index }).catch(() => undefined)
    throw error
  }
}

/**
 * Newer kernels let these writes wait for the requests under way, and udev may have sent some that our caller will
 * answer only once we return. So they get a moment, and then go on by themselves.
 */
async function applySettings(index: number): Promise<void> {
  const queue = `/sys/block/nbd${index}/queue`
  const applied = Promise.all([
    writeFile(`${queue}/io_timeout`, String(ioTimeoutMs)),
    writeFile(`${queue}/max_sectors_kb`, String(maxSectorsKib)),
  ]).then(
    () => null,
    (error: Error) => error,
  )
  const timer = new AbortController()
  const error = await Promise.race([applied, delay(settingsMs, null, { signal: timer.signal })])
  timer.abort()
  if (error !== null)
    throw new StorageError(
      'CONFIGURATION',
      { detail: 'the queue of the device cannot be set up', device: pathOf(index), remedy: 'mount sysfs writable' },
      { cause: error },
    )
}

/**
 * Gives the device new sockets. The kernel takes one for each dead one it knows of, silently drops the others, and
 * answers 0 in any case: the other end of a dropped one is gone. Dropped ones are offered again until the kernel has
 * noticed that the old ones are shut down; if it had fewer connections than we offer, fewer are returned.
 */
async function replaceSockets(index: number, options: KernelAttach): Promise<number[]> {
  const taken: number[] = []
  try {
    await waitFor(async () => {
      taken.push(...(await offerSockets(index, options, options.connections - taken.length)))
      return taken.length === options.connections
    }, replaceMs)
  } catch (error) {
    for (const fd of taken) addon.fdClose(fd)
    throw error
  }
  if (taken.length > 0) return taken
  throw new StorageError('DEVICE_BUSY', {
    detail: 'the device keeps its old connections',
    device: pathOf(index),
    remedy: 'end the process that served it, or let it shut its sockets down',
  })
}

/** Our ends of those that the kernel kept. */
async function offerSockets(index: number, options: KernelAttach, count: number): Promise<number[]> {
  const pairs = makePairs(count)
  try {
    await ask(index, {
      command: nbdCommands.reconfigure,
      index,
      deadConnectionTimeoutSec: Math.ceil(options.deadConnectionTimeoutMs / 1000),
      socketFds: pairs.map(pair => pair.kernels),
      identifier: options.identifier,
    })
  } catch (error) {
    for (const pair of pairs) addon.fdClose(pair.ours)
    throw error
  } finally {
    closeKernelEnds(pairs)
  }
  const dropped = pairs.filter(pair => addon.fdIsHungUp(pair.ours))
  for (const pair of dropped) addon.fdClose(pair.ours)
  return pairs.filter(pair => !dropped.includes(pair)).map(pair => pair.ours)
}

const request = (command: NbdRequest): Promise<number> => addon.nbdRequest(command)

async function ask(index: number, command: NbdRequest): Promise<void> {
  try {
    await request(command)
  } catch (error) {
    throw errorOf(index, error)
  }
}

function errorOf(index: number | null, error: unknown): unknown {
  if (!isAddonError(error)) return error
  const facts = { device: index === null ? undefined : pathOf(index), system: addonErrorText(error) }
  return new StorageError(
    codeOf(error),
    { detail: 'the kernel refused', ...remedyOf(error), ...definedOnly(facts) },
    { cause: error },
  )
}

const definedOnly = (facts: { device: string | undefined; system: string }): { device?: string; system: string } =>
  facts.device === undefined ? { system: facts.system } : { device: facts.device, system: facts.system }

function codeOf(error: AddonError): 'NOT_FOUND' | 'CONFIGURATION' | 'DEVICE_BUSY' | 'BAD_ARGUMENT' | 'INTERNAL' {
  switch (errnoName(error.errno)) {
    case 'ENOENT':
    case 'ENODEV':
      return 'NOT_FOUND'
    case 'EPERM':
      return 'CONFIGURATION'
    case 'EBUSY':
      return 'DEVICE_BUSY'
    case 'EINVAL':
      return 'BAD_ARGUMENT'
    default:
      return 'INTERNAL'
  }
}

const remedyOf = (error: AddonError): { remedy?: string } =>
  errnoName(error.errno) === 'EPERM' ? { remedy: 'grant CAP_SYS_ADMIN' } : {}

const pathOf = (index: number): string => `/dev/nbd${index}`

/** The process that connected a device; the driver shows it exactly while the device is connected. */
const servingProcess = (index: number): Promise<string | null> => textOf(`/sys/block/nbd${index}/pid`)

const isAttached = async (index: number): Promise<boolean> => (await servingProcess(index)) !== null

const identifierOf = (index: number): Promise<string | null> => textOf(`/sys/block/nbd${index}/backend`)

async function sizeBytesOf(index: number): Promise<number> {
  // In units of 512 bytes, whatever the block size.
  return Number((await textOf(`/sys/block/nbd${index}/size`)) ?? 0) * 512
}

async function isBlockDevice(index: number): Promise<boolean> {
  try {
    return (await stat(pathOf(index))).isBlockDevice()
  } catch {
    return false
  }
}

async function textOf(path: string): Promise<string | null> {
  try {
    return (await readFile(path, 'utf8')).trim()
  } catch {
    return null
  }
}

/** Asks again and again, ever more slowly, until `isSo`, at most `limitMs`; whether it became so. */
async function waitFor(isSo: () => Promise<boolean>, limitMs: number): Promise<boolean> {
  const endMs = addon.bootTimeMs() + limitMs
  for (let pollMs = pollMsMin; !(await isSo()); pollMs = Math.min(2 * pollMs, pollMsMax)) {
    if (addon.bootTimeMs() >= endMs) return false
    await delay(pollMs)
  }
  return true
}
