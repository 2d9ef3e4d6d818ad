import t, { type Test } from 'tap'
import { type LocalCluster, startLocalCluster } from '../support/local-cluster.js'
import { discard } from './discard.js'
import { fileSystem } from './file-systems.js'
import { mappedAgain, restarts } from './kernel-door.js'
import { localDown } from './local-down.js'
import { seedWorkload } from './seed-workload.js'

// To start a cluster takes longer in User-Mode-Linux than most of what is tested on it.
t.test('volumes as block devices', async t => {
  const volumes = ['vol1', 'ext4', 'xfs'].flatMap(name => ['--volume', `${name}:8G`])
  const cluster = await startLocalCluster(t, ...volumes, '--device-size', '64G')
  /** Whatever a test has written, both copies are equal after it. */
  const test = (title: string, run: (t: Test, cluster: LocalCluster) => Promise<void>) =>
    t.test(title, async t => {
      await run(t, cluster)
      await cluster.check()
    })

  await test('discard: blocks, chunks and the whole device read as zeroes and their space comes back', discard)
  await test('seed workload: fio on /dev/nbdX and through its nbd engine sees no error and no wrong byte', seedWorkload)
  await test('kernel door: I/O on /dev/nbdX goes on when the SDC or an SDS restarts', restarts)
  await test(
    'kernel door: a volume is unmapped and mapped again and again, and the device is the kernel’s',
    mappedAgain,
  )
  for (const name of ['ext4', 'xfs'] as const)
    await test(`${name}: made, filled, trimmed, grown while mounted, and clean at the end`, (t, cluster) =>
      fileSystem(t, cluster, name))
  await test('local down: a device in use stays and goes on with the next up; one nobody uses is let go', localDown)
})
