// Run by read-passes.test.ts in a process whose syncs fail: reads a block by a pass before and after one.
import { setTimeout as sleep } from 'node:timers/promises'
import { MiB } from '../../src/base/units.js'
import { fileDisks } from '../../src/io/disk-port.js'
import { readPasses } from '../../src/io/read-passes.js'
import { tcpLink } from '../../src/io/tcp-link.js'
import { makeFrame, opcodes } from '../../src/wire/data.js'

const place = { slice: 3, epoch: 7, mapping: 11, volume: 20, chunk: 5, pool: 2 }
const disk = await fileDisks.open(process.argv[2]!, { createBytes: 4 * MiB, direct: true })
readPasses.keepInMemory(4 * MiB)
await new Promise<string | null>(resolve => disk.write(0, [Buffer.alloc(4096, 1)], resolve))
let answers = 0
const listener = await tcpLink.listenData({ host: '127.0.0.1', port: 0 }, connection => {
  const deadline = readPasses.newDeadline()
  deadline.atMs = Number.POSITIVE_INFINITY
  const like = makeFrame({ opcode: opcodes.read, ...place })
  readPasses.give(connection, like, disk, 0, [deadline, deadline], readPasses.newTally())
  return { onMessage: () => {}, onClose: () => {} }
})
const client = tcpLink.connectData(listener.endpoint, { onMessage: () => answers++, onClose: () => {} })

async function read(): Promise<number> {
  const before = answers
  client.send(makeFrame({ opcode: opcodes.read, ...place, length: 4096 }))
  for (let waits = 0; answers === before && waits < 5_000; waits++) await sleep(1)
  return readPasses.fromMemory.ios
}

const fromMemory = [await read(), await read()]
const syncError = await new Promise<string | null>(resolve => disk.sync(resolve))
fromMemory.push(await read(), await read())
console.log(JSON.stringify({ answers, fromMemory, syncError }))
process.exit()
