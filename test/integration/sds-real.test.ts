import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { StorageError } from '../../src/base/errors.js'
import { type DeviceId, numberOfId } from '../../src/base/ids.js'
import { chunkBytes, GiB, KiB } from '../../src/base/units.js'
import { loadConfig } from '../../src/config/load.js'
import { mdmKeys } from '../../src/config/mdm.js'
import { sdsKeys } from '../../src/config/sds.js'
import { realPorts } from '../../src/io/real-ports.js'
import { startMdm } from '../../src/mdm/daemon.js'
import { type MdmClient, openMdmClient } from '../../src/mdm-client/index.js'
import type { Connection, Daemon } from '../../src/ports/index.js'
import { startSds } from '../../src/sds/daemon.js'
import { decode, encode } from '../../src/wire/codec.js'
import { type DataFrame, makeFrame, opcodes } from '../../src/wire/data.js'

t.setTimeout(60_000)

const portOf = (n: number) => 21_700 + (process.pid % 500) * 8 + n
const pause = (ms: number) => new Promise<void>(resolve => setTimeout(resolve, ms))
async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let i = 0; i < 1_500; i++) {
    if (await holds()) return
    await pause(20)
  }
  throw new Error(`never: ${what}`)
}

/** Sends one request at a time, on a session of its own. */
class Session {
  #id = 1
  readonly #answers = new Map<number, (frame: DataFrame) => void>()
  readonly connection: Connection<DataFrame>
  constructor(port: number) {
    this.connection = realPorts({ logLevel: 'error', name: 'client' }).link.connectData(
      { host: '127.0.0.1', port },
      { onMessage: frame => this.#answers.get(frame.requestId)?.(frame), onClose: () => {} },
    )
  }
  send(frame: DataFrame): Promise<DataFrame> {
    const requestId = this.#id++
    return new Promise(resolve => {
      this.#answers.set(requestId, resolve)
      this.connection.send({ ...frame, requestId })
    })
  }
}

t.test('sds: real processes’ parts on real files: written, mirrored, restarted, read back and equal', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'blockmesh-sds-'))
  const mdmText = `{ name: mdm-1, listen: "127.0.0.1:${portOf(0)}", directory: ${directory}/mdm }`
  const mdm = await startMdm(loadConfig(mdmKeys, mdmText, 'mdm.yaml'), realPorts({ logLevel: 'error', name: 'mdm-1' }))
  const bootSds = (n: number): Promise<Daemon> => {
    const text = `
name: sds-${n}
listen: 127.0.0.1:${portOf(n)}
mdm: 127.0.0.1:${portOf(0)}
directory: ${directory}/sds-${n}
io.mode: buffered
`
    return startSds(loadConfig(sdsKeys, text, 'sds.yaml'), realPorts({ logLevel: 'error', name: `sds-${n}` }))
  }
  const sdss = new Map<number, Daemon>()
  for (const n of [1, 2]) sdss.set(n, await bootSds(n))
  const ports = realPorts({ logLevel: 'error', name: 'tool' })
  const tool: MdmClient = openMdmClient({
    addresses: [{ host: '127.0.0.1', port: portOf(0) }],
    role: 'tool',
    name: 'tool',
    systemId: null,
    ...ports,
  })
  tool.start()
  await tool.request('addProtectionDomain', { name: 'pd1' })
  await tool.request('addStoragePool', { protectionDomain: 'pd1', name: 'pool1' })
  for (const n of [1, 2]) {
    const add = () =>
      tool
        .request('addSds', {
          protectionDomain: 'pd1',
          name: `sds-${n}`,
          endpoint: { host: '127.0.0.1', port: portOf(n) },
        })
        .then(() => true)
        .catch((error: StorageError) => error.code === 'ALREADY_EXISTS')
    await until(add, 'the SDS has contacted the MDM')
    await until(
      () =>
        sdss
          .get(n)!
          .metrics()
          .some(({ name, value }) => name === 'blockmesh_sds_serving' && value === 1),
      'serving',
    )
    await tool.request('addDevice', {
      sds: `sds-${n}`,
      pool: 'pool1',
      path: join(directory, `disk-${n}`),
      sizeBytes: 24 * GiB,
    })
  }
  const volume = await tool.request('addVolume', { pool: 'pool1', name: 'vol1', sizeBytes: 8 * GiB, type: 'thin' })
  const sdcLink: MdmClient = openMdmClient({
    addresses: [{ host: '127.0.0.1', port: portOf(0) }],
    role: 'sdc',
    name: 'sdc-1',
    systemId: null,
    ...ports,
    onConnected: async () => {},
    onMap: map => void sdcLink.notice('mapAck', { version: map.version }),
  })
  sdcLink.start()
  const sdc = await sdcLink.request('registerSdc', { guid: 'g', processId: 'p', name: 'sdc-1' })
  await sdcLink.subscribe()
  const mapping = await tool.request('mapVolume', { volume: 'vol1', sdc: sdc.sdcId })
  await until(() => sdcLink.map.tables.mappings.has(mapping.id), 'the mapping arrives')

  const { map } = sdcLink
  const pool = [...map.tables.pools.values()][0]!
  const chunk = 11
  const slice = (map.tables.volumes.get(volume.id)!.sliceOffset + chunk) % pool.sliceCount
  const record = () => map.slices.get(pool.id)![slice]!
  let counter = 0
  const open = async (kind: 'sdc' | 'check', deviceId: DeviceId): Promise<Session> => {
    const session = new Session(map.tables.sdss.get(map.tables.devices.get(deviceId)!.sdsId)!.endpoint.port)
    const client = kind === 'sdc' ? numberOfId(sdc.sdcId) : 0
    const hello = { systemId: tool.systemId, kind, client, incarnation: sdc.incarnation, counter: ++counter, deviceId }
    const body = [encode({ ...hello, mapVersion: map.version })]
    let status = -1
    await until(async () => {
      status = (await session.send(makeFrame({ opcode: opcodes.hello, body }))).status
      return status === 0
    }, 'welcome')
    return session
  }
  const place = () => ({
    slice,
    epoch: record().epoch,
    mapping: numberOfId(mapping.id),
    volume: numberOfId(volume.id),
    chunk,
    pool: numberOfId(pool.id),
    mapVersion: map.version,
  })
  const data = Buffer.alloc(64 * KiB, 'r')
  const first = await open('sdc', record().primary)
  const write = makeFrame({ opcode: opcodes.write, ...place(), offset: 4 * KiB, length: data.length, body: [data] })
  t.equal((await first.send(write)).status, 0)
  first.connection.close()

  const isWhole = () => record().secondary !== null && record().joining === null
  for (const n of [1, 2]) {
    await sdss.get(n)!.stop()
    sdss.set(n, await bootSds(n))
    await until(
      () =>
        sdss
          .get(n)!
          .metrics()
          .some(({ name, value }) => name === 'blockmesh_sds_device_slots' && value > 0),
      'opened',
    )
    await pause(200)
  }
  t.ok(isWhole(), 'a clean stop may hand roles over, and leaves both copies in sync')
  let bytes = Buffer.alloc(0)
  await until(async () => {
    const second = await open('sdc', record().primary)
    const read = await second.send(makeFrame({ opcode: opcodes.read, ...place(), offset: 0, length: chunkBytes }))
    bytes = Buffer.concat(read.body)
    second.connection.close()
    return read.status === 0
  }, 'the read is answered, by whoever is primary now')
  t.ok(bytes.subarray(4 * KiB, 68 * KiB).equals(data))
  t.equal(
    bytes.subarray(68 * KiB).findIndex(byte => byte !== 0),
    -1,
  )
  const checker = await open('check', record().primary)
  const compared = await checker.send(makeFrame({ opcode: opcodes.compare, pool: numberOfId(pool.id), slice }))
  t.equal(compared.status, 0)
  t.match(decode(Buffer.concat(compared.body)), {
    slice,
    chunksCompared: 1,
    bytesCompared: chunkBytes,
    differences: [],
  })
  checker.connection.close()

  for (const daemon of sdss.values()) await daemon.stop()
  await sdcLink.close()
  await tool.close()
  await mdm.stop()
  await rm(directory, { recursive: true })
})
