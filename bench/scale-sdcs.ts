/**
 * Cost of 4 KiB I/O as the number of SDCs that do it grows: each has a volume of its own, and the same number of requests is
 * under way over all. All SDCs run from the beginning. `node dist/bench/scale-sdcs.js [1,8,32]`
 */
import { GiB } from '../src/base/units.js'
import { runBench } from './runner/bench-run.js'
import { Curve, measurePoint } from './runner/scale.js'
import { startBlockmesh } from './targets/blockmesh.js'

const counts = (process.argv[2] ?? '1,8,32').split(',').map(Number)
const curve = new Curve('scale-sdcs', 'sdcs')

await runBench('scale', async place => {
  const shape = ['--device-size', '128G', '--sdcs', String(Math.max(...counts))]
  const cluster = place.keep(await startBlockmesh({ ...place, rangeBytes: 0 }, { name: 'c', ioMode: 'direct', shape }))
  const sdcs = cluster.daemons().filter(({ role }) => role === 'sdc')
  const uris: string[] = []
  for (const count of counts) {
    await cluster.withMdm(async mdm => {
      for (const { name: sdc, address } of sdcs.slice(uris.length, count)) {
        const volume = `of-${sdc}`
        await mdm.request('addVolume', {
          pool: 'pool1',
          protectionDomain: 'pd1',
          name: volume,
          sizeBytes: 8 * GiB,
          type: 'thin',
        })
        await mdm.request('mapVolume', { volume, sdc })
        uris.push(`nbd+unix:///${volume}?socket=${address.replace(/^unix:/, '')}`)
      }
    })
    // Each new SDC compiles what it runs before it is measured.
    await measurePoint(cluster, { uris, depth: 64 })
    curve.add(count, await measurePoint(cluster, { uris, depth: 64 }))
  }
  curve.show()
})
