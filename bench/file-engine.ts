// Compares ways to do file I/O from JavaScript: Node's own callbacks and the addon's threads. One JSON line per case.
//   node dist/bench/file-engine.js [directory on the disk to measure]
import fs from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KiB, MiB } from '../src/base/units.js'
import { fileDisks } from '../src/io/disk-port.js'
import type { Disk } from '../src/ports/disk.js'

const fileBytes = 128 * MiB
const caseMs = 500

type Done = (error: unknown) => void

interface Engine {
  read(offsetBytes: number, buffer: Buffer, done: Done): void
  write(offsetBytes: number, buffer: Buffer, done: Done): void
  close(): Promise<void>
}

interface Case {
  engine: 'node' | 'addon' | 'addon, buffers not aligned'
  direct: boolean
  operation: 'read' | 'write'
  blockBytes: number
  depth: number
}

const cases: Case[] = []
for (const direct of [true, false])
  for (const [blockBytes, depth] of [
    [4 * KiB, 1],
    [4 * KiB, 16],
    [1 * MiB, 8],
  ] as const)
    for (const operation of ['read', 'write'] as const)
      for (const engine of ['node', 'addon', 'addon, buffers not aligned'] as const)
        if (direct || engine !== 'addon, buffers not aligned')
          cases.push({ engine, direct, operation, blockBytes, depth })

function nodeEngine(path: string, direct: boolean): Engine {
  const fd = fs.openSync(path, fs.constants.O_RDWR | (direct ? fs.constants.O_DIRECT : 0))
  return {
    read: (offsetBytes, buffer, done) => fs.read(fd, buffer, 0, buffer.length, offsetBytes, done),
    write: (offsetBytes, buffer, done) => fs.write(fd, buffer, 0, buffer.length, offsetBytes, done),
    close: async () => fs.closeSync(fd),
  }
}

async function addonEngine(path: string, direct: boolean): Promise<Engine> {
  const disk: Disk = await fileDisks.open(path, { direct })
  return {
    read: (offsetBytes, buffer, done) => disk.read(offsetBytes, buffer, done),
    write: (offsetBytes, buffer, done) => disk.write(offsetBytes, [buffer], done),
    close: () => disk.close(),
  }
}

/** Node tells no addresses: of all places in a page, the one at which direct I/O works is the page's start. */
function alignedBuffer(path: string, lengthBytes: number): Buffer {
  const fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_DIRECT)
  const memory = Buffer.alloc(lengthBytes + 4 * KiB)
  try {
    for (let at = 0; at < 4 * KiB; at += 16) {
      try {
        fs.readSync(fd, memory, at, 4 * KiB, 0)
        return memory.subarray(at, at + lengthBytes)
      } catch {}
    }
    throw new Error('no place in a page takes direct I/O')
  } finally {
    fs.closeSync(fd)
  }
}

async function run(path: string, { engine: name, direct, operation, blockBytes, depth }: Case): Promise<object> {
  const engine = name === 'node' ? nodeEngine(path, direct) : await addonEngine(path, direct)
  const isAligned = direct && name !== 'addon, buffers not aligned'
  const buffers = Array.from({ length: depth }, () =>
    isAligned ? alignedBuffer(path, blockBytes) : Buffer.alloc(blockBytes),
  )
  const latenciesUs: number[] = []
  const cpuStart = process.cpuUsage()
  const startMs = performance.now()
  const endMs = startMs + caseMs
  await Promise.all(
    buffers.map(
      buffer =>
        new Promise<void>((resolve, reject) => {
          let issuedMs = 0
          const next = (): void => {
            issuedMs = performance.now()
            const block = Math.floor(Math.random() * (fileBytes / blockBytes))
            if (issuedMs >= endMs) resolve()
            else engine[operation](block * blockBytes, buffer, done)
          }
          const done = (error: unknown): void => {
            latenciesUs.push((performance.now() - issuedMs) * 1000)
            if (error) reject(error)
            else next()
          }
          next()
        }),
    ),
  )
  const elapsedSec = (performance.now() - startMs) / 1000
  const cpu = process.cpuUsage(cpuStart)
  await engine.close()
  latenciesUs.sort((a, b) => a - b)
  const at = (share: number): number => Math.round(latenciesUs[Math.floor(latenciesUs.length * share)] ?? 0)
  return {
    engine: name,
    direct,
    operation,
    blockKib: blockBytes / KiB,
    depth,
    opsPerSec: Math.round(latenciesUs.length / elapsedSec),
    mibPerSec: Math.round((latenciesUs.length * blockBytes) / MiB / elapsedSec),
    latencyUsP50: at(0.5),
    latencyUsP99: at(0.99),
    cpuUsPerOp: Math.round((cpu.user + cpu.system) / latenciesUs.length),
  }
}

const directory = fs.mkdtempSync(join(process.argv[2] ?? tmpdir(), 'blockmesh-bench-'))
try {
  const path = join(directory, 'file')
  // Written once, so that no case measures the allocation of blocks.
  const fd = fs.openSync(path, 'w')
  const filling = Buffer.alloc(1 * MiB, 0x5a)
  for (let at = 0; at < fileBytes; at += filling.length) fs.writeSync(fd, filling)
  fs.fsyncSync(fd)
  fs.closeSync(fd)
  for (const one of cases) console.log(JSON.stringify(await run(path, one)))
} finally {
  fs.rmSync(directory, { recursive: true })
}
