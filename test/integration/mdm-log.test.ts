import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { systemClock } from '../../src/io/clock.js'
import { lmdbStores } from '../../src/io/meta-store.js'
import { RaftStore } from '../../src/mdm/raft-store.js'

const writerPath = fileURLToPath(new URL('mdm-log-writer.js', import.meta.url))
const kills = 8

t.setTimeout(180_000)

t.test(`an MDM's log: its writer is killed ${kills} times, and all that was answered is there each time`, async t => {
  const directory = await mkdtemp(join(tmpdir(), 'blockmesh-log-'))
  t.teardown(() => rm(directory, { recursive: true, force: true }))
  for (let kill = 0; kill < kills; kill++) {
    const writer = spawn(process.execPath, [writerPath, directory], { stdio: ['ignore', 'pipe', 'inherit'] })
    const answered: [number, number][] = []
    createInterface(writer.stdout).on('line', line => answered.push(line.split(' ').map(Number) as [number, number]))
    while (answered.length < 5) await wait(5)
    await wait(Math.random() * 100)
    writer.kill('SIGKILL')
    await once(writer, 'close')
    const store = await RaftStore.open({ metaStores: lmdbStores, clock: systemClock }, directory)
    const { hardState, snapshot, entries } = store.recovered!
    const [term, last] = answered.at(-1)!
    const have = entries.at(-1)?.index ?? snapshot.index
    t.ok(hardState.term >= term, `term ${hardState.term}, and ${term} was answered`)
    // The write behind it replaces two entries by three, or is not there.
    t.ok(have >= last, `${have} entries, and ${last} were answered`)
    for (const { term, payload } of entries)
      if (!String(payload).startsWith(`${term} `)) t.fail(`an entry of term ${term} holds another one's bytes`)
    if (snapshot.term > 0)
      t.equal(String(store.snapshotContent).split(' ')[0], String(snapshot.term), 'head and content of one snapshot')
    await store.close()
  }
})
