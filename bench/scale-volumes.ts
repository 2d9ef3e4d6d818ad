/**
 * Cost of 4 KiB I/O, spread over all volumes, as the number of volumes mapped to one SDC grows.
 * `node dist/bench/scale-volumes.js [1,10,100,1000]`
 */
import { GiB } from '../src/base/units.js'
import { runBench } from './runner/bench-run.js'
import { Curve, measurePoint } from './runner/scale.js'
import { startBlockmesh } from './targets/blockmesh.js'

const counts = (process.argv[2] ?? '1,10,100,1000').split(',').map(Number)
const curve = new Curve('scale-volumes', 'volumes')

await runBench('scale', async place => {
  // Sparse: thin volumes may promise ten times what there is.
  const shape = ['--device-size', '1T']
  const cluster = place.keep(await startBlockmesh({ ...place, rangeBytes: 0 }, { name: 'c', ioMode: 'direct', shape }))
  const uris = [cluster.uriOf('bench')]
  const uriOf = (name: string) => uris[0]!.replace('/bench?', `/${name}?`)
  // Everything is compiled before the first point.
  await measurePoint(cluster, { uris })
  for (const count of counts) {
    await cluster.withMdm(async mdm => {
      for (let number = uris.length + 1; number <= count; number++) {
        const volume = `v${number}`
        await mdm.request('addVolume', {
          pool: 'pool1',
          protectionDomain: 'pd1',
          name: volume,
          sizeBytes: 8 * GiB,
          type: 'thin',
        })
        await mdm.request('mapVolume', { volume, sdc: 'sdc-1' })
        uris.push(uriOf(volume))
      }
    })
    curve.add(count, await measurePoint(cluster, { uris }))
  }
  curve.show()
})
