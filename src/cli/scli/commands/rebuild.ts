import type { IoPolicy } from '../../../model/index.js'
import { defineCommand, optional, required } from '../command.js'
import { namesDomain, namesPool, namesSds, poolOf, sdsOf } from '../select.js'
import { flag, oneOf, wholeNumber } from '../values.js'

const anyDomain = optional('protection_domain_id', 'protection_domain_name')
const onePool = required('storage_pool_id', 'storage_pool_name')
const poolShorts = { id: 'storage_pool_id', name: 'storage_pool_name' } as const
const sdsShorts = { id: 'sds_id', name: 'sds_name', ip: 'sds_ip' } as const
const oneSds = required('sds_id', 'sds_name', 'sds_ip')

/** ScaleIO's words for policies. */
const policyWords = {
  unlimited: 'unlimited',
  limit_concurrent_io: 'limitNumOfConcurrentIos',
  favor_application_io: 'favorAppIos',
  dynamic_bandwidth_throttling: 'dynamicBwThrottling',
} as const satisfies Record<string, IoPolicy['kind']>
const wordList = ['unlimited', 'limit_concurrent_io', 'favor_application_io', 'dynamic_bandwidth_throttling'] as const

const policyOptions = {
  ...namesDomain,
  ...namesPool,
  policy: oneOf(wordList, 'how copies give way to applications'),
  concurrent_io_limit: wholeNumber('COUNT', 'copies at a time per device, 1 to 20 (default 1)', { min: 1, max: 20 }),
  bw_limit_per_device_in_kbps: wholeNumber('KB/s', 'per device while applications use it (default 10240)', {
    min: 1024,
    max: 1024 * 1024,
  }),
  app_iops_per_device_threshold: wholeNumber('IOPS', 'applications use the device above this (default 100)', {
    min: 1,
    max: 1_000_000,
  }),
  app_bw_per_device_threshold_in_kbps: wholeNumber('KB/s', 'or above this (default 4096)', {
    min: 1,
    max: 1024 * 1024,
  }),
  quiet_period_in_msec: wholeNumber('MSEC', 'how long they must be below both (default 1000)', {
    min: 1,
    max: 3_600_000,
  }),
  default_policy: flag('back to the default'),
}

interface PolicyValues {
  policy?: (typeof wordList)[number]
  concurrent_io_limit?: number
  bw_limit_per_device_in_kbps?: number
  app_iops_per_device_threshold?: number
  app_bw_per_device_threshold_in_kbps?: number
  quiet_period_in_msec?: number
}

function policyFrom(values: PolicyValues): IoPolicy | null {
  if (values.policy === undefined) return null
  const kind = policyWords[values.policy]
  const concurrentIos = values.concurrent_io_limit ?? 1
  const bandwidthKbPerSec = values.bw_limit_per_device_in_kbps ?? 10_240
  switch (kind) {
    case 'unlimited':
      return { kind }
    case 'limitNumOfConcurrentIos':
      return { kind, concurrentIos }
    case 'favorAppIos':
      return { kind, concurrentIos, bandwidthKbPerSec }
    case 'dynamicBwThrottling':
      return {
        kind,
        concurrentIos,
        bandwidthKbPerSec,
        appIopsThreshold: values.app_iops_per_device_threshold ?? 100,
        appBandwidthKbPerSecThreshold: values.app_bw_per_device_threshold_in_kbps ?? 4_096,
        quietPeriodMs: values.quiet_period_in_msec ?? 1_000,
      }
  }
}

const policyCommand = (what: 'rebuild' | 'rebalance', request: 'setRebuildPolicy' | 'setRebalancePolicy') =>
  defineCommand({
    noun: 'storage-pool',
    action: `set-${what}-policy`,
    verb: `set_${what}_policy`,
    summary: `Says how fast ${what === 'rebuild' ? 'lost copies are made again' : 'copies are moved between devices'}`,
    options: policyOptions,
    choices: [anyDomain, onePool, required('policy', 'default_policy')],
    shorts: poolShorts,
    async run(values, { mdm, report }) {
      const { id, name } = poolOf(await report(), values)
      const policy = policyFrom(values as PolicyValues)
      await mdm.request(request, { pool: id, policy })
      return {
        text: `Successfully set the ${what} policy of storage pool ${name} to ${values.policy ?? 'the default'}`,
        data: { id, policy },
      }
    },
  })

/** How failures are handled: policies of rebuild and rebalance, and maintenance. */
export const rebuildCommands = [
  policyCommand('rebuild', 'setRebuildPolicy'),
  policyCommand('rebalance', 'setRebalancePolicy'),
  defineCommand({
    noun: 'storage-pool',
    action: 'set-grace-period',
    verb: 'set_grace_period',
    summary: 'Says how long a copy may be away before its data is copied elsewhere',
    options: {
      ...namesDomain,
      ...namesPool,
      grace_period_in_sec: wholeNumber('SEC', 'seconds (default 60)', { min: 0, max: 86_400 }),
      default_period: flag('back to the default'),
    },
    choices: [anyDomain, onePool, required('grace_period_in_sec', 'default_period')],
    shorts: poolShorts,
    async run(values, { mdm, report }) {
      const { id, name } = poolOf(await report(), values)
      const seconds = values.grace_period_in_sec ?? null
      const gracePeriodMs = seconds === null ? null : seconds * 1_000
      await mdm.request('setGracePeriod', { pool: id, gracePeriodMs })
      const word = seconds === null ? 'the default' : `${seconds} seconds`
      return {
        text: `Successfully set the grace period of storage pool ${name} to ${word}`,
        data: { id, gracePeriodMs },
      }
    },
  }),
  defineCommand({
    noun: 'sds',
    action: 'enter-maintenance',
    verb: 'enter_maintenance_mode',
    summary: 'Freezes the copies of an SDS: the others serve, nothing is copied elsewhere meanwhile',
    options: namesSds,
    choices: [oneSds],
    shorts: sdsShorts,
    confirm: 'Meanwhile its data has one copy. Enter maintenance mode?',
    async run(values, { mdm, report }) {
      const { id, name } = sdsOf(await report(), values)
      await mdm.request('enterMaintenance', { sds: id })
      return { text: `SDS ${name} entered maintenance mode. Object ID ${id}`, data: { id, name } }
    },
  }),
  defineCommand({
    noun: 'sds',
    action: 'exit-maintenance',
    verb: 'exit_maintenance_mode',
    summary: 'Lets the copies of an SDS take part again; what was written meanwhile is copied to them',
    options: namesSds,
    choices: [oneSds],
    shorts: sdsShorts,
    async run(values, { mdm, report }) {
      const { id, name } = sdsOf(await report(), values)
      await mdm.request('exitMaintenance', { sds: id })
      return { text: `SDS ${name} exits maintenance mode. Object ID ${id}`, data: { id, name } }
    },
  }),
]
