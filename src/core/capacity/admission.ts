import { StorageError } from '../../base/errors.js'
import { thinOversubscriptionMax } from '../../base/limits.js'
import { GiB } from '../../base/units.js'
import type { StoragePool, Volume } from '../../model/index.js'
import { freeForVolumesBytes, type PoolAccounts } from './pool-capacity.js'

/** Throws CAPACITY if the pool cannot take `addBytes` more of a volume of this type without eating the spare. */
export function admitVolume(
  pool: StoragePool,
  accounts: PoolAccounts,
  want: { name: string; type: Volume['type']; addBytes: number; thinAllocatedBytes: number },
): void {
  const { usableBytes, thickReservedBytes, thinProvisionedBytes, spareBytes } = accounts
  const takenBytes = thickReservedBytes + want.thinAllocatedBytes
  const facts = {
    volume: want.name,
    pool: pool.name,
    usable: inGiB(usableBytes),
    spare: inGiB(spareBytes),
    taken: inGiB(takenBytes),
    wanted: inGiB(want.addBytes),
  }
  if (want.type === 'thick') {
    if (takenBytes + want.addBytes > usableBytes)
      throw new StorageError('CAPACITY', {
        detail: 'the volume would eat the spare capacity of the pool',
        ...facts,
        remedy: `at most ${inGiB(freeForVolumesBytes(accounts, want.thinAllocatedBytes))} are free for a thick volume; add devices, remove volumes or make it thin`,
      })
    return
  }
  if (takenBytes >= usableBytes)
    throw new StorageError('CAPACITY', {
      detail: 'nothing is free in the pool beside the spare',
      ...facts,
      remedy: 'add devices or remove volumes',
    })
  if (thinProvisionedBytes + want.addBytes > thinOversubscriptionMax * usableBytes)
    throw new StorageError('CAPACITY', {
      detail: `thin volumes may promise at most ${thinOversubscriptionMax} times the usable capacity`,
      ...facts,
      provisioned: inGiB(thinProvisionedBytes),
      remedy: 'add devices or remove thin volumes',
    })
}

/** Throws CAPACITY if a change of the pool would leave less than its volumes hold already. */
export function admitShrink(pool: StoragePool, after: PoolAccounts, thinAllocatedBytes: number, what: string): void {
  const takenBytes = after.thickReservedBytes + thinAllocatedBytes
  if (takenBytes <= after.usableBytes) return
  throw new StorageError('CAPACITY', {
    detail: `${what} would leave the pool less than its volumes take`,
    pool: pool.name,
    usable: inGiB(after.usableBytes),
    taken: inGiB(takenBytes),
    remedy: 'add devices or remove volumes first',
  })
}

const inGiB = (bytes: number): string => `${Math.round((bytes / GiB) * 100) / 100} GiB`
