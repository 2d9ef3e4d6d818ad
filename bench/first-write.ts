/**
 * What the first write to a chunk costs, with zero padding on and off, beside writing it again. Each repetition takes a part
 * of the volume that nobody has written, on two clusters in turns. Prints a JSON line per run and one per comparison.
 * `node dist/bench/first-write.js [REPETITIONS] [MIB PER RUN]`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runToFioEnd } from './runner/fio.js'
import { median } from './runner/summary.js'
import type { Target } from './runner/target.js'
import { startBlockmesh } from './targets/blockmesh.js'

const repetitions = Number(process.argv[2] ?? 5)
const mebibytes = Number(process.argv[3] ?? 256)
const directory = mkdtempSync(join(tmpdir(), 'blockmesh-first-write-'))

/** One write of 4 KiB to each chunk, and whole chunks. */
const shapes = {
  '4k in each chunk, depth 16': ['--rw=write:1020k', '--bs=4k', '--iodepth=16'],
  '1M, depth 8': ['--rw=write', '--bs=1M', '--iodepth=8'],
}

const targets: Target[] = []
const figures = new Map<string, number[]>()
try {
  for (const zeroPadding of [true, false]) {
    const name = zeroPadding ? 'padding-on' : 'padding-off'
    targets.push(await startBlockmesh({ directory, rangeBytes: 0 }, { name, ioMode: 'direct', zeroPadding }))
  }
  let freeMiB = 0
  // The first repetition warms the daemons up.
  for (let repetition = 0; repetition <= repetitions; repetition++)
    for (const [shape, options] of Object.entries(shapes)) {
      const place = [`--offset=${freeMiB}M`, `--size=${mebibytes}M`]
      freeMiB += mebibytes
      for (const pass of ['first', 'again'])
        for (const target of repetition % 2 === 0 ? targets : [...targets].reverse()) {
          const job = await runToFioEnd(target, [...place, ...options])
          const { iops, bw_bytes } = job.write
          const run = { shape, pass, target: target.name, iops: Math.round(iops), mbPerSec: Math.round(bw_bytes / 1e6) }
          if (repetition === 0) continue
          console.log(JSON.stringify({ bench: 'first-write', repetition, ...run }))
          const key = `${shape}/${pass}/${target.name}`
          figures.set(key, [...(figures.get(key) ?? []), iops])
        }
    }
  const iopsOf = (shape: string, pass: string, target: string) => median(figures.get(`${shape}/${pass}/${target}`)!)
  for (const shape of Object.keys(shapes)) {
    const first = iopsOf(shape, 'first', 'padding-on')
    const onToOff = Number((first / iopsOf(shape, 'first', 'padding-off')).toFixed(3))
    const firstToAgain = Number((first / iopsOf(shape, 'again', 'padding-on')).toFixed(3))
    console.log(JSON.stringify({ bench: 'first-write-summary', shape, onToOff, firstToAgain }))
  }
} finally {
  for (const target of targets) await target.stop()
  rmSync(directory, { recursive: true, force: true })
}
