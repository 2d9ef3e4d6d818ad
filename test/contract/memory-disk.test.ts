import { SimWorld } from '../support/index.js'
import { diskContract } from './disk.js'

for (const direct of [true, false])
  diskContract(direct ? 'memory, direct' : 'memory, buffered', async () => {
    const world = new SimWorld(13)
    const { disks } = world.portsOf('sds-1')
    // The contract waits as on a real disk, so virtual time goes by by itself.
    let running = true
    const flow = (async () => {
      while (running) await world.clock.runFor(1)
    })()
    return {
      port: disks,
      path: '/disks/d1',
      direct,
      tearDown: () => {
        running = false
        return flow
      },
    }
  })
