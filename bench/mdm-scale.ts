/**
 * What an MDM costs as a system grows to 10,000 volumes and 1,000 mappings: an MDM with its log in lmdb and tools that speak to
 * it over TCP, in one process. Prints a line of JSON and a row of a table for each size.
 * `node dist/bench/mdm-scale.js [VOLUMES …]`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { loadConfig } from '../src/config/load.js'
import { type MdmConfig, mdmKeys } from '../src/config/mdm.js'
import { exportConfiguration, snapshotOf } from '../src/core/mdm/index.js'
import { realPorts } from '../src/io/real-ports.js'
import { startMdm } from '../src/mdm/daemon.js'
import { type MdmClient, openMdmClient } from '../src/mdm-client/index.js'
import { type MapDelta, wholeMap } from '../src/model/index.js'
import { encode } from '../src/wire/codec.js'
import { liveBytes, printRows, type Row, rounded, timed, timedAsync } from './scale/measure.js'
import { makeSystem } from './scale/system.js'

const sizes = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [100, 1_000, 10_000]
const mappingsMax = 1_000
/** Commands that one tool, and that sixteen tools, ask for while the rate is measured. */
const sampleCommands = 200
const atOnce = 16

const directory = mkdtempSync(join(tmpdir(), 'blockmesh-mdm-scale-'))
const ports = realPorts({ logLevel: 'error', name: 'mdm-scale' })
const config = loadConfig(
  mdmKeys,
  `name: mdm-1\nlisten: 127.0.0.1:0\ndirectory: ${directory}/mdm\n`,
  'bench',
) as MdmConfig

let mdm = await startMdm(config, ports)
let tools: MdmClient[] = []
let nextName = 0
const rows: Row[] = []
try {
  await connect()
  // SDSs that nobody has to play: the system goes on without having heard them.
  const { machine, pool } = makeSystem({ sdss: 32, devicesPerSds: 1, deviceGb: 1024, sliceCount: 1024 })
  await tools[0]!.request('importConfiguration', { text: exportConfiguration(machine.state) })
  await tools[0]!.request('acceptConfiguration', { force: true })
  for (let index = 0; index < 10; index++)
    await mdm.mdm!.proposer.propose('registerSdc', () => ({ guid: `g${index}`, processId: 'p', name: `sdc-${index}` }))
  const emptyBytes = liveBytes()

  for (const volumes of sizes) {
    await fillUp(volumes - 2 * sampleCommands, pool)
    const one = await rate(sampleCommands, 1, pool)
    const many = await rate(sampleCommands, atOnce, pool)
    const mapped = await mapSome(Math.min(mappingsMax, volumes))
    const { state } = mdm.mdm!
    const heldBytes = liveBytes() - emptyBytes
    const [snapshot, snapshotMs] = timed(() => encode(snapshotOf(state)))
    const [whole, wholeMs] = timed(() => encode(wholeMap(state.map)))
    const [, queryMs] = await timedAsync(() => tools[0]!.request('query', {}))
    const delta = mdm.node!.replica!.deltas.at(-1) as MapDelta
    const have = state.map.tables.volumes.size
    const startMs = await startAgain()
    rows.push({
      volumes: have,
      mappings: state.map.tables.mappings.size,
      addPerSec: Math.round(one),
      [`addPerSec${atOnce}`]: Math.round(many),
      mapPerSec: Math.round(mapped),
      bytesPerVolume: Math.round(heldBytes / have),
      snapshotKb: Math.round(snapshot.length / 1024),
      snapshotMs: rounded(snapshotMs),
      startMs: Math.round(startMs),
      wholeMapKb: Math.round(whole.length / 1024),
      wholeMapMs: rounded(wholeMs),
      deltaBytes: encode(delta).length,
      queryMs: Math.round(queryMs),
    })
  }
  printRows('mdm-scale', rows)
} finally {
  for (const tool of tools) await tool.close()
  await mdm.stop()
  rmSync(directory, { recursive: true, force: true })
}

async function connect(): Promise<void> {
  const [host, port] = mdm.endpointText.split(':')
  const addresses = [{ host: host!, port: Number(port) }]
  const { clock, link, log } = ports
  tools = Array.from({ length: atOnce }, (_, index) =>
    openMdmClient({ addresses, role: 'tool', name: `tool-${index}`, systemId: null, clock, link, log }),
  )
  for (const tool of tools) tool.start()
}

/** How long a new process needs until it serves: opening, replaying, becoming master, answering. */
async function startAgain(): Promise<number> {
  for (const tool of tools) await tool.close()
  await mdm.stop()
  const [, startMs] = await timedAsync(async () => {
    mdm = await startMdm(config, ports)
    await connect()
    await tools[0]!.request('queryRecovery', {})
  })
  return startMs
}

function addVolume(tool: MdmClient, pool: string): Promise<unknown> {
  return tool.request('addVolume', { pool, name: `volume-${nextName++}`, sizeBytes: 8 * 2 ** 30, type: 'thin' })
}

/** Not measured: many at once, so that it does not take long. */
async function fillUp(volumes: number, pool: string): Promise<void> {
  const missing = volumes - mdm.map!.tables.volumes.size
  for (let done = 0; done < missing; done += 500)
    await Promise.all(
      Array.from({ length: Math.min(500, missing - done) }, (_, at) => addVolume(tools[at % atOnce]!, pool)),
    )
}

async function rate(commands: number, clients: number, pool: string): Promise<number> {
  const some = Math.min(commands, Math.floor(sizes[0]! / 2))
  const [, ms] = await timedAsync(() =>
    Promise.all(
      tools.slice(0, clients).map(async tool => {
        for (let done = 0; done < some / clients; done++) await addVolume(tool, pool)
      }),
    ),
  )
  return (some * 1000) / ms
}

/** Up to `wanted` mappings; per second. */
async function mapSome(wanted: number): Promise<number> {
  const { tables } = mdm.map!
  const mapped = new Set([...tables.mappings.values()].map(({ volumeId }) => volumeId))
  const sdcs = [...tables.sdcs.keys()]
  const free = [...tables.volumes.keys()].filter(id => !mapped.has(id as never)).slice(0, wanted - mapped.size)
  const [, ms] = await timedAsync(async () => {
    for (let at = 0; at < free.length; at += atOnce)
      await Promise.all(
        free
          .slice(at, at + atOnce)
          .map((volume, index) => tools[index]!.request('mapVolume', { volume, sdc: sdcs[index % sdcs.length]! })),
      )
  })
  return free.length === 0 ? 0 : (free.length * 1000) / ms
}
