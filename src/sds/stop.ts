import { mutate } from '../base/mutation.js'
import type { ClusterMap } from '../model/index.js'
import type { Clock } from '../ports/index.js'
import type { SdsContext } from './context.js'
import type { DataEndpoint } from './data-endpoint.js'
import type { OwnDevice } from './own-device.js'
import type { StoreDone, StoreError } from './store/device-store.js'

const drainMsMax = 10_000
const flushMsMax = 1_000
const pollMs = 5
const quietMs = 100
const quietMsMax = 1_000

/** A device here is primary of a slice that has a second copy. */
export function leadsAnother({ devices }: SdsContext, map: ClusterMap): boolean {
  for (const records of map.slices.values())
    for (const { primary, secondary } of records) if (secondary !== null && devices.has(primary)) return true
  return false
}

/**
 * Stops serving: clients are not listened to any more, what they have under way is finished on all copies, meanwhile
 * other primaries are still served. A device is marked as cleanly stopped only if nothing of it is unfinished anywhere
 * (design section 5, rule 6).
 */
export async function stopDevices(context: SdsContext, endpoint: DataEndpoint): Promise<void> {
  const { clock, devices, peers, log } = context
  context.callBackLanes()
  await endpoint.stopAccepting()
  await until(clock, () => ![...devices.values()].some(hasClientWork), drainMsMax)
  // SDSs that stop together finish each other's writes: nobody goes while another one still sends.
  await quiet(context)
  endpoint.stopReading()
  await until(clock, () => [...devices.values()].every(device => device.active.size === 0), drainMsMax)
  await until(clock, () => endpoint.queuedBytes === 0, flushMsMax)
  await endpoint.close()
  peers.close()
  for (const device of devices.values()) {
    const isDone =
      (device.active.size === 0 || mutate('stop-cleanly-with-unfinished-requests')) && device.store.failed === null
    if (isDone && isAccountedFor(device)) await markClean(context, device)
    else log.warn('sds.unclean-stop', { deviceId: device.id, unfinished: device.active.size })
    await device.store.close()
  }
}

/**
 * An unclean stop of the process before this one is forgotten only when the MDM has committed what it means: a process
 * that never met the MDM leaves the device as it found it.
 */
const isAccountedFor = ({ registered, store }: OwnDevice): boolean => registered || store.opened.cleanStop

function hasClientWork(device: OwnDevice): boolean {
  for (const request of device.active) if (request.mapping !== 0) return true
  return false
}

/** Waits until nothing has been asked of the devices for a while; not for ever, as other SDSs may just go on. */
async function quiet({ clock, devices }: SdsContext): Promise<void> {
  let busyMs = clock.nowMs()
  const isQuiet = () => {
    if ([...devices.values()].some(device => device.active.size > 0)) busyMs = clock.nowMs()
    return clock.nowMs() - busyMs >= quietMs
  }
  await until(clock, isQuiet, quietMsMax)
}

async function markClean({ log }: SdsContext, device: OwnDevice): Promise<void> {
  const { store } = device
  const error =
    (await told(done => store.sync(done))) ?? (store.dirty ? await told(done => store.markClean(done)) : null)
  if (error !== null) log.error('sds.unclean-stop', { deviceId: device.id, error: error.kind })
}

const told = (act: (done: StoreDone) => void): Promise<StoreError | null> => new Promise(resolve => act(resolve))

/** True as soon as `holds`; false if it does not within `maxMs`. */
export async function until(clock: Clock, holds: () => boolean, maxMs: number): Promise<boolean> {
  const endMs = clock.nowMs() + maxMs
  while (!holds()) {
    if (clock.nowMs() >= endMs) return false
    await new Promise<void>(resolve => clock.setTimer(pollMs, resolve))
  }
  return true
}
