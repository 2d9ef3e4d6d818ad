import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { type LocalCluster, shell, until } from '../support/local-cluster.js'

const fileSystems = {
  ext4: {
    make: 'mkfs.ext4 -q',
    check: 'e2fsck -fn',
    grow: (device: string, _at: string) => `resize2fs ${device}`,
  },
  xfs: {
    make: 'mkfs.xfs -q',
    check: 'xfs_repair -n',
    grow: (_device: string, at: string) => `xfs_growfs ${at}`,
  },
}

/** Size of the mounted file system, as `df` sees it. */
const sizeOf = async (at: string): Promise<number> => Number(await shell(`df --output=size -B1 ${at} | tail -n 1`))

async function grow(cluster: LocalCluster, name: string, device: string, sizeGb: number): Promise<void> {
  await cluster.scli('--modify_volume_capacity', '--volume_name', name, '--size_gb', String(sizeGb))
  await until(`${device} has ${sizeGb} GB`, 200_000, async () => {
    return Number(await shell(`blockdev --getsize64 ${device}`)) === sizeGb * 2 ** 30
  })
}

/** A file system on the volume of its name is made, filled, trimmed, grown while mounted, and clean at the end. */
export async function fileSystem(t: Test, cluster: LocalCluster, name: keyof typeof fileSystems): Promise<void> {
  const tools = fileSystems[name]
  const device = cluster.volume(name).device!
  const at = join(cluster.dir, name)
  mkdirSync(at)
  await shell(`${tools.make} ${device} && mount ${device} ${at}`)
  t.teardown(() => shell(`mountpoint -q ${at} && umount ${at} || true`))

  await shell(`cp -r node_modules/typescript/lib ${at}/tree && sync -f ${at}`)
  await shell(`cp -r ${at}/tree ${at}/copy && rm -rf ${at}/tree && sync -f ${at}`)
  t.match(await shell(`fstrim -v ${at}`), /trimmed/)

  const before = await sizeOf(at)
  await grow(cluster, name, device, 16)
  await shell(tools.grow(device, at))
  t.ok((await sizeOf(at)) > before * 1.9, 'the mounted file system uses the new space')

  await shell(`umount ${at}`)
  await shell(`${tools.check} ${device}`)
  await shell(`mount ${device} ${at}`)
  await shell(`diff -r node_modules/typescript/lib ${at}/copy`)
  await shell(`umount ${at}`)
}
