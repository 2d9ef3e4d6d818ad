import { formatSize, formatSizeTwice } from '../../format/size.js'
import { formatTable } from '../../format/table.js'
import { defineCommand } from '../command.js'
import { progressWord, sliceState } from '../describe.js'

export const systemCommands = [
  defineCommand({
    noun: 'system',
    action: 'query',
    verb: 'query_all',
    summary: 'Shows the system, its capacity and its health',
    options: {},
    async run(_values, context) {
      const report = await context.report()
      const sum = (of: (pool: (typeof report.pools)[number]) => number) =>
        report.pools.reduce((total, pool) => total + of(pool), 0)
      const lines = [
        'System Info:',
        `    Product:  Blockmesh  Name: ${report.system.name}`,
        `    ID:       ${report.system.id}`,
        `    ${formatSizeTwice(sum(pool => pool.capacity.rawBytes))} total capacity`,
        `    ${formatSizeTwice(sum(pool => pool.capacity.inUseBytes))} in-use capacity`,
        `    ${formatSizeTwice(sum(pool => pool.capacity.spareBytes))} spare capacity`,
        `    ${report.sdss.filter(sds => sds.connected).length} of ${report.sdss.length} SDSs, ` +
          `${report.sdcs.filter(sdc => sdc.connected).length} of ${report.sdcs.length} SDCs connected; ` +
          `${report.devices.length} devices, ${report.volumes.length} volumes`,
        ...(report.system.recovery
          ? ['    STANDS STILL: its configuration may be an older one; see --query_recovery']
          : []),
      ]
      const rows = report.pools.map(pool => {
        const domain = report.protectionDomains.find(candidate => candidate.id === pool.protectionDomainId)
        const volumes = report.volumes.filter(volume => volume.poolId === pool.id)
        return [
          domain?.name,
          pool.name,
          pool.id,
          volumes.length,
          formatSize(pool.capacity.rawBytes),
          formatSize(pool.capacity.usableBytes),
          formatSize(pool.capacity.freeForVolumesBytes),
          sliceState(pool.slices),
          progressWord(pool.rebuild),
          progressWord(pool.rebalance),
        ]
      })
      const head = [
        'Protection domain',
        'Storage pool',
        'ID',
        'Volumes',
        'Raw',
        'Usable',
        'Free for volumes',
        'State',
        'Rebuild',
        'Rebalance',
      ]
      const pools = rows.length > 0 ? `\n\n${formatTable(head, rows)}` : '\n    no storage pools'
      return { text: lines.join('\n') + pools, data: report }
    },
  }),
]
