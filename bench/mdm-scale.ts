/**
 * What an MDM costs as a system grows to 10,000 volumes and 1,000 mappings: an MDM with its log in lmdb and tools that speak to
 * it over TCP, in one process. Prints a line of JSON and a row of a table for each size.
 * `node dist/bench/mdm-scale.js [VOLUMES …]`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GiB } from '../src/base/units.js'
import { loadConfig } from '../src/config/load.js'
import { type MdmConfig, mdmKeys } from '../src/config/mdm.js'
import { exportConfiguration, type MdmState, restore, type Snapshot, snapshotOf } from '../src/core/mdm/index.js'
import { realPorts } from '../src/io/real-ports.js'
import { type MdmDaemon, startMdm } from '../src/mdm/daemon.js'
import { type MdmClient, openMdmClient } from '../src/mdm-client/index.js'
import { type MapDelta, wholeMap } from '../src/model/index.js'
import { decode, encode } from '../src/wire/codec.js'
import { liveBytes, printRows, type Row, rounded, timed, timedAsync } from './scale/measure.js'
import { makeSystem } from './scale/system.js'

const sizes = process.argv.length > 2 ? process.argv.slice(2).map(Number) : [100, 1_000, 10_000]
const mappingsMax = 1_000
/** Commands that one tool, and that sixteen tools, ask for while the rate is measured. */
const sampleCommands = 160
const atOnce = 16

const directory = mkdtempSync(join(tmpdir(), 'blockmesh-mdm-scale-'))
const ports = realPorts({ logLevel: 'error', name: 'mdm-scale' })
/** Made in memory, and imported into each new MDM: ten thousand commits take their time. */
const { machine, pool } = makeSystem({ sdss: 32, devicesPerSds: 1, deviceGb: 1024, sliceCount: 1024 })
const sdcs = Array.from(
  { length: 10 },
  (_, index) => machine.do('registerSdc', { guid: `g${index}`, processId: 'p', name: `sdc-${index}` }).sdcId,
)
const emptyBytes = stateBytes(machine.state)

let mdm: MdmDaemon
let config: MdmConfig
let tools: MdmClient[] = []
let nextName = 0
const rows: Row[] = []
try {
  for (const volumes of sizes) rows.push(await measure(volumes))
  printRows('mdm-scale', rows)
} finally {
  rmSync(directory, { recursive: true, force: true })
}

async function measure(volumes: number): Promise<Row> {
  const { tables } = machine.state.map
  const [, decideMs] = timed(() => {
    while (tables.volumes.size < volumes) machine.addVolume(pool, `volume-${nextName++}`)
  })
  const made = volumes - ((rows.at(-1)?.volumes as number | undefined) ?? 0)
  const file = `name: mdm-1\nlisten: 127.0.0.1:0\ndirectory: ${directory}/${volumes}\n`
  config = loadConfig(mdmKeys, file, 'bench') as MdmConfig
  mdm = await startMdm(config, ports)
  try {
    await connect()
    const [text, exportMs] = timed(() => exportConfiguration(machine.state))
    const [, importMs] = await timedAsync(() => tools[0]!.request('importConfiguration', { text }))
    // SDSs that nobody has to play: the system goes on without having heard them.
    await tools[0]!.request('acceptConfiguration', { force: true })
    const addPerSec = await rate(1)
    const addPerSecAtOnce = await rate(atOnce)
    const mapPerSec = await mapSome(Math.min(mappingsMax, volumes))
    const { state } = mdm.mdm!
    const heldBytes = stateBytes(state) - emptyBytes
    const [snapshot, snapshotMs] = timed(() => encode(snapshotOf(state)))
    const [whole, wholeMs] = timed(() => encode(wholeMap(state.map)))
    const [, queryMs] = await timedAsync(() => tools[0]!.request('query', {}))
    const delta = mdm.node!.replica!.deltas.at(-1) as MapDelta
    const have = state.map.tables.volumes.size
    const startMs = await startAgain()
    return {
      volumes,
      decideUs: Math.round((decideMs * 1000) / made),
      addPerSec: Math.round(addPerSec),
      [`addPerSec${atOnce}`]: Math.round(addPerSecAtOnce),
      mapPerSec: Math.round(mapPerSec),
      bytesPerVolume: Math.round(heldBytes / have),
      snapshotKb: Math.round(snapshot.length / 1024),
      snapshotMs: rounded(snapshotMs),
      startMs: Math.round(startMs),
      wholeMapKb: Math.round(whole.length / 1024),
      wholeMapMs: rounded(wholeMs),
      deltaBytes: encode(delta).length,
      queryMs: Math.round(queryMs),
      exportKb: Math.round(text.length / 1024),
      exportMs: Math.round(exportMs),
      importMs: Math.round(importMs),
    }
  } finally {
    for (const tool of tools) await tool.close()
    await mdm.stop()
  }
}

/** What the state alone takes in memory: of a copy, as a new process would have it. */
function stateBytes(state: MdmState): number {
  const bytes = encode(snapshotOf(state))
  const before = liveBytes()
  const copy = restore(decode(bytes) as Snapshot)
  const held = liveBytes() - before
  // Until here it must be alive.
  if (copy.map.version !== state.map.version) throw new Error('a copy is what it was made from')
  return held
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

/** Volumes made per second by so many tools, each waiting for its answer. */
async function rate(clients: number): Promise<number> {
  const [, ms] = await timedAsync(() =>
    Promise.all(
      tools.slice(0, clients).map(async tool => {
        for (let done = 0; done < sampleCommands / clients; done++)
          await tool.request('addVolume', { pool, name: `sample-${nextName++}`, sizeBytes: 8 * GiB, type: 'thin' })
      }),
    ),
  )
  return (sampleCommands * 1000) / ms
}

/** So many mappings; per second. */
async function mapSome(wanted: number): Promise<number> {
  const free = [...mdm.map!.tables.volumes.keys()].slice(0, wanted)
  const [, ms] = await timedAsync(async () => {
    for (let at = 0; at < free.length; at += atOnce)
      await Promise.all(
        free
          .slice(at, at + atOnce)
          .map((volume, index) => tools[index]!.request('mapVolume', { volume, sdc: sdcs[index % sdcs.length]! })),
      )
  })
  return (free.length * 1000) / ms
}
