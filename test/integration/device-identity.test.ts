import { mkdirSync, renameSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { shell, startLocalCluster, until } from '../support/local-cluster.js'

interface Query {
  devices: { id: string; path: string; connected: boolean }[]
}

t.test('devices: swapped or moved while their SDS is down, they are found by identity at the next start', async t => {
  const cluster = await startLocalCluster(t, '--devices', '2', '--device-size', '8G', '--volume', 'vol1:8G')
  const { uri } = cluster.volume('vol1')
  const write = (pattern: string) => shell(`qemu-io -f raw -c 'write -P ${pattern} 0 40M' -c flush '${uri}'`)
  const read = (pattern: string) => shell(`qemu-io -f raw -c 'read -P ${pattern} 0 40M' '${uri}'`)
  await write('0x5a')

  const [one, other] = cluster.file.devices.filter(device => device.sds === 'sds-1')
  await cluster.local('terminate', 'sds-1')
  renameSync(one!.path, `${one!.path}.swap`)
  renameSync(other!.path, one!.path)
  renameSync(`${one!.path}.swap`, other!.path)
  await cluster.local('start', 'sds-1')
  const pathOf = async (id: string) =>
    ((await cluster.scli('--query_all')) as Query).devices.find(device => device.id === id)
  await until('both are found where they are now', 20_000, async () => {
    const [first, second] = [await pathOf(one!.id), await pathOf(other!.id)]
    return Boolean(first?.connected && second?.connected && first.path === other!.path && second.path === one!.path)
  })
  t.match(await read('0x5a'), /read 41943040/)

  await cluster.local('terminate', 'sds-1')
  const moved = join(dirname(one!.path), 'moved-device')
  mkdirSync(dirname(moved), { recursive: true })
  renameSync(one!.path, moved)
  await cluster.local('start', 'sds-1')
  await until('the moved one is found', 20_000, async () => (await pathOf(other!.id))?.path === moved)
  t.match(await read('0x5a'), /read 41943040/)
  await write('0xa5')
  t.match(await read('0xa5'), /read 41943040/)
  await cluster.check()
})
