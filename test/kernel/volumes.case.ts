import t from 'tap'
import { startLocalCluster } from '../support/local-cluster.js'
import { discard } from './discard.js'
import { fileSystem } from './file-systems.js'
import { mappedAgain, restarts } from './kernel-door.js'
import { localDown } from './local-down.js'
import { seedWorkload } from './seed-workload.js'

// To start a cluster and to check it takes longer in User-Mode-Linux than most of what is tested on it.
t.test('volumes as block devices', async t => {
  const volumes = ['vol1', 'ext4', 'xfs'].flatMap(name => ['--volume', `${name}:8G`])
  const cluster = await startLocalCluster(t, ...volumes, '--device-size', '64G')

  await t.test('discard: blocks, chunks and the whole device read as zeroes and their space comes back', t =>
    discard(t, cluster),
  )
  await t.test('seed workload: fio on /dev/nbdX and through its nbd engine sees no error and no wrong byte', t =>
    seedWorkload(t, cluster),
  )
  await t.test('kernel door: I/O on /dev/nbdX goes on when the SDC or an SDS restarts', t => restarts(t, cluster))
  await t.test('kernel door: a volume is unmapped and mapped again and again, and the device is the kernel’s', t =>
    mappedAgain(t, cluster),
  )
  for (const name of ['ext4', 'xfs'] as const)
    await t.test(`${name}: made, filled, trimmed, grown while mounted, and clean at the end`, t =>
      fileSystem(t, cluster, name),
    )
  await t.test('local down: a device in use stays and goes on with the next up; one that nobody uses is let go', t =>
    localDown(t, cluster),
  )
  await cluster.check()
})
