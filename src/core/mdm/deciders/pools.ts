import { StorageError } from '../../../base/errors.js'
import { sliceCountMax } from '../../../base/limits.js'
import { accountsWith, admitShrink } from '../../capacity/index.js'
import { checkLimit, checkUnused, type Deciders, done, drop, find, put, rows } from '../decider.js'
import { checkIopsLimit } from '../limits.js'
import { checkName, checkUnique } from '../names.js'
import { checkGracePeriod, checkIoPolicy } from '../policies.js'
import { nextId } from '../state.js'
import { systemLimits } from '../system-limits.js'

/** Storage pools and their policies. */
export const poolDeciders: Deciders<
  | 'addPool'
  | 'renamePool'
  | 'removePool'
  | 'setZeroPadding'
  | 'setSparePercent'
  | 'setLimitPolicy'
  | 'setRebuildPolicy'
  | 'setRebalancePolicy'
  | 'setGracePeriod'
  | 'noteFills'
> = {
  addPool(state, { protectionDomainId, name, zeroPadding, sparePercent, sliceCount }) {
    const domain = find(state, 'protectionDomains', protectionDomainId)
    const pools = rows(state, 'pools')
    const beside = pools.filter(pool => pool.protectionDomainId === protectionDomainId)
    checkName('storage pool', name)
    checkUnique('storage pool', name, beside)
    checkLimit('storage pools', pools.length, systemLimits.pools)
    checkLimit('storage pools in a protection domain', beside.length, systemLimits.poolsPerDomain, domain.name)
    checkSparePercent(name, sparePercent)
    if (!Number.isInteger(Math.log2(sliceCount)) || sliceCount > sliceCountMax)
      throw new StorageError('BAD_ARGUMENT', {
        detail: `the number of slices is a power of two from 1 to ${sliceCountMax}`,
        pool: name,
        sliceCount,
        remedy: 'leave it out for the default',
      })
    const id = nextId<'pool'>(state)
    const pool = { id, name, protectionDomainId, zeroPadding, sparePercent, sliceCount, limitPolicy: null }
    return { changes: [put('pools', pool)], answer: { id } }
  },

  renamePool(state, { id, name }) {
    const pool = find(state, 'pools', id)
    const beside = rows(state, 'pools').filter(other => other.protectionDomainId === pool.protectionDomainId)
    checkName('storage pool', name)
    checkUnique('storage pool', name, beside, id)
    return done(put('pools', { ...pool, name }))
  },

  removePool(state, { id }) {
    const { name } = find(state, 'pools', id)
    const inside = <Row extends { poolId: string }>(all: Row[]): Row[] => all.filter(row => row.poolId === id)
    checkUnused('storage pool', name, inside(rows(state, 'volumes')), 'volumes', 'remove its volumes first')
    checkUnused('storage pool', name, inside(rows(state, 'devices')), 'devices', 'remove its devices first')
    const table = state.map.slices.has(id) ? [{ kind: 'dropSlices' as const, poolId: id }] : []
    return done(...table, drop('pools', id))
  },

  setZeroPadding(state, { id, zeroPadding }) {
    const pool = find(state, 'pools', id)
    const devices = rows(state, 'devices').filter(device => device.poolId === id)
    if (zeroPadding !== pool.zeroPadding && devices.length > 0)
      throw new StorageError('IN_USE', {
        detail: 'zero padding can be changed only while the pool has no devices',
        pool: pool.name,
        devices: devices.length,
        remedy: 'remove the devices, or make another pool',
      })
    return done(put('pools', { ...pool, zeroPadding }))
  },

  setSparePercent(state, { id, sparePercent, thinAllocatedBytes }) {
    const pool = find(state, 'pools', id)
    checkSparePercent(pool.name, sparePercent)
    const changed = { ...pool, sparePercent }
    admitShrink(pool, accountsWith(state.map, changed), thinAllocatedBytes, 'this spare percentage')
    return done(put('pools', changed))
  },

  setLimitPolicy(state, { id, policy }) {
    const pool = find(state, 'pools', id)
    if (policy) checkIopsLimit(policy.iops, { pool: pool.name })
    return done(put('pools', { ...pool, limitPolicy: policy }))
  },

  setRebuildPolicy(state, { id, policy }) {
    const { rebuildPolicy: _, ...pool } = find(state, 'pools', id)
    if (policy) checkIoPolicy(policy, pool.name)
    return done(put('pools', policy ? { ...pool, rebuildPolicy: policy } : pool))
  },

  setRebalancePolicy(state, { id, policy }) {
    const { rebalancePolicy: _, ...pool } = find(state, 'pools', id)
    if (policy) checkIoPolicy(policy, pool.name)
    return done(put('pools', policy ? { ...pool, rebalancePolicy: policy } : pool))
  },

  setGracePeriod(state, { id, gracePeriodMs }) {
    const { gracePeriodMs: _, ...pool } = find(state, 'pools', id)
    if (gracePeriodMs !== null) checkGracePeriod(gracePeriodMs, pool.name)
    return done(put('pools', gracePeriodMs === null ? pool : { ...pool, gracePeriodMs }))
  },

  noteFills(state, { id, rebuildBytesTotal: rebuild, rebalanceBytesTotal: rebalance }) {
    const { fillBytesTotal: _, ...pool } = find(state, 'pools', id)
    return done(put('pools', rebuild + rebalance > 0 ? { ...pool, fillBytesTotal: { rebuild, rebalance } } : pool))
  },
}

function checkSparePercent(pool: string, percent: number | null): void {
  if (percent === null || (percent >= 0 && percent <= 99)) return
  throw new StorageError('BAD_ARGUMENT', {
    detail: 'the spare percentage is from 0 to 99',
    pool,
    sparePercent: percent,
    remedy: 'leave it out to hold back as much as the largest fault unit has',
  })
}
