/**
 * Cost of 4 KiB I/O, and what daemons use when they idle, as the number of SDSs grows; a new cluster for each point. The pool
 * has 128 slices, so that an SDS has a bounded number of partners to ask for leases.
 * `node dist/bench/scale-sdss.js [3,16,64]`
 */
import { runBench } from './runner/bench-run.js'
import { Curve, measurePoint } from './runner/scale.js'
import { startBlockmesh } from './targets/blockmesh.js'

const counts = (process.argv[2] ?? '3,16,64').split(',').map(Number)
const curve = new Curve('scale-sdss', 'sdss')

await runBench('scale', async place => {
  for (const count of counts) {
    const shape = ['--sdss', String(count), '--fault-sets', '0', '--slices', '128', '--wait', '280']
    const name = `c${count}`
    const cluster = place.keep(await startBlockmesh({ ...place, rangeBytes: 0 }, { name, ioMode: 'direct', shape }))
    // As many requests for each SDS, or the batches would shrink.
    const load = { uris: [cluster.uriOf('bench')], depth: Math.round((16 * count) / 3) }
    await measurePoint(cluster, load)
    curve.add(count, await measurePoint(cluster, load))
    await place.stop(cluster)
  }
  curve.show()
})
