/**
 * Cost of 4 KiB I/O as the number of slices of a pool grows; a new cluster, with a second pool, for each point.
 * `node dist/bench/scale-slices.js [128,1024,8192,65536]`
 */
import { dirname, join } from 'node:path'
import { GiB } from '../src/base/units.js'
import { print, round, runBench } from './runner/bench-run.js'
import { Curve, measurePoint } from './runner/scale.js'
import { type BlockmeshTarget, startBlockmesh } from './targets/blockmesh.js'

const counts = (process.argv[2] ?? '128,1024,8192,65536').split(',').map(Number)
const curve = new Curve('scale-slices', 'slices')
const pool = 'pool2'
const volume = 'sliced'
const deviceBytes = 64 * GiB

/** A pool of its own with this many slices, a device on each SDS, and a volume that covers every slice. */
async function addPool(cluster: BlockmeshTarget, sliceCount: number): Promise<string> {
  const { processes, devices } = cluster.file()
  const startedAtMs = performance.now()
  await cluster.withMdm(async mdm => {
    await mdm.request('addStoragePool', { protectionDomain: 'pd1', name: pool, sliceCount })
    for (const { name: sds } of processes.filter(({ role }) => role === 'sds')) {
      const beside = devices.find(({ path }) => path.includes(`/${sds}/`))!.path
      const path = join(dirname(beside), 'device-sliced')
      await mdm.request('addDevice', { sds, pool, protectionDomain: 'pd1', path, sizeBytes: deviceBytes })
    }
    await mdm.request('addVolume', {
      pool,
      protectionDomain: 'pd1',
      name: volume,
      sizeBytes: deviceBytes,
      type: 'thin',
    })
    await mdm.request('mapVolume', { volume, sdc: 'sdc-1' })
  })
  print({ bench: 'scale-slices-made', slices: sliceCount, elapsedMs: round(performance.now() - startedAtMs, 0) })
  return cluster.uriOf('bench').replace('/bench?', `/${volume}?`)
}

await runBench('scale', async place => {
  for (const count of counts) {
    const name = `c${count}`
    const cluster = place.keep(await startBlockmesh({ ...place, rangeBytes: 0 }, { name, ioMode: 'direct' }))
    const uris = [await addPool(cluster, count)]
    await measurePoint(cluster, { uris })
    curve.add(count, await measurePoint(cluster, { uris }))
    await place.stop(cluster)
  }
  curve.show()
})
