import { readSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { setImmediate as endOfTurn } from 'node:timers/promises'
import t from 'tap'
import { KiB } from '../../src/base/units.js'
import { addon } from '../../src/io/addon.js'
import { fileDisks } from '../../src/io/disk-port.js'
import { readPasses } from '../../src/io/read-passes.js'
import { tcpLink } from '../../src/io/tcp-link.js'
import type { Connection } from '../../src/ports/link.js'
import { type DataFrame, dataHeaderBytes, encodeHeader, makeFrame, opcodes } from '../../src/wire/data.js'

t.test('an answer leaves in the turn in which its bytes are there, and waits for no other event', async t => {
  // What is in the page cache is there as soon as the kernel is asked for it.
  const disk = await fileDisks.open(join(t.testdir(), 'disk'), { createBytes: 64 * KiB, direct: false })
  await new Promise(resolve => disk.write(0, [Buffer.alloc(64 * KiB, 7)], resolve))
  let accepted: (connection: Connection<DataFrame>) => void = () => {}
  const came = new Promise<Connection<DataFrame>>(resolve => {
    accepted = resolve
  })
  const listener = await tcpLink.listenData({ host: '127.0.0.1', port: 0 }, connection => {
    accepted(connection)
    return { onMessage: () => t.fail('JavaScript had to see it'), onClose() {} }
  })
  // A unix socket has what was written to the other end at once.
  const fd = addon.localConnect(`blockmesh-memory/127.0.0.1:${listener.endpoint.port}`)
  // No memory is to be shared.
  writeSync(fd, Buffer.of(0))
  const connection = await came
  const place = { slice: 3, epoch: 7, mapping: 11, volume: 20, chunk: 5, pool: 2, mapVersion: 1 }
  const request = makeFrame({ opcode: opcodes.read, requestId: 1, ...place, offset: 0, length: 4 * KiB })
  const deadline = readPasses.newDeadline()
  deadline.atMs = Number.POSITIVE_INFINITY
  readPasses.give(connection, request, disk, 0, [deadline, deadline], readPasses.newTally())

  const header = Buffer.alloc(dataHeaderBytes)
  const answer = Buffer.alloc(dataHeaderBytes + 4 * KiB)
  // Time for what was said first.
  for (let turns = 0; turns < 3; turns++) await endOfTurn()
  for (let requestId = 1; requestId <= 5; requestId++) {
    encodeHeader({ ...request, requestId }, header, 0)
    writeSync(fd, header)
    // The next turn finds the request; what is awaited runs at the very end of it.
    await endOfTurn()
    t.equal(readSync(fd, answer), answer.length)
    t.ok(answer.subarray(dataHeaderBytes).every(byte => byte === 7))
  }
  addon.fdClose(fd)
  connection.close()
  await listener.close()
  await disk.close()
})
