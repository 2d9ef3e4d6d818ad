import t from 'tap'
import { errorTable } from '../../../src/base/errors.js'
import { type CheckWork, runCheck } from '../../../src/cli/check/run.js'
import { type ClusterMap, emptyMap, type MapDelta, type SliceRecord } from '../../../src/model/index.js'
import type { Connection, Link } from '../../../src/ports/link.js'
import { decode, encode } from '../../../src/wire/codec.js'
import { type CompareReport, type DataFrame, type DataHello, makeReply, opcodes } from '../../../src/wire/data.js'

const id = (number: number): string => `0badc0de${number.toString(16).padStart(8, '0')}`
const [poolId, deviceA, deviceB] = [id(1), id(2), id(3)]

/** A pool of `sliceCount` slices, primaries alternating between device A and device B, each on an SDS of its own. */
function makeMap(sliceCount: number): ClusterMap {
  const map = emptyMap()
  const put = (table: keyof ClusterMap['tables'], value: { id: string }) =>
    (map.tables[table] as Map<string, unknown>).set(value.id, value)
  put('systems', { id: id(0) })
  put('pools', { id: poolId, name: 'pool1' } as never)
  for (const [index, device] of [deviceA, deviceB].entries()) {
    const sds = { id: id(10 + index), name: `sds-${index + 1}`, faultSetId: null }
    put('sdss', { ...sds, endpoint: { host: '127.0.0.1', port: 7001 + index } } as never)
    put('devices', { id: device, sdsId: sds.id } as never)
  }
  map.version = 7
  map.slices.set(
    poolId as never,
    Array.from({ length: sliceCount }, (_, slice) => record(slice, 5)),
  )
  return map
}
function record(slice: number, epoch: number): SliceRecord {
  const [primary, secondary] = slice % 2 === 0 ? [deviceA, deviceB] : [deviceB, deviceA]
  return { slice, epoch, primary, secondary, joining: null, lossEpoch: 0 } as SliceRecord
}

const equalReport = (slice: number): CompareReport => ({
  slice,
  chunksCompared: 2,
  bytesCompared: 8192,
  differences: [],
})

/** Runs a check against servers that answer each compare request as `answer` says; null closes the connection. */
async function check(
  sliceCount: number,
  answer: (frame: DataFrame, map: ClusterMap) => { status: number; body: Buffer } | null,
  settleMs = 0,
) {
  const map = makeMap(sliceCount)
  const hellos: DataHello[] = []
  let atOnceMax = 0
  let atOnce = 0
  const link: Pick<Link, 'connectData'> = {
    connectData(remote, handlers) {
      let isOpen = true
      const send = (frame: DataFrame) => {
        if (frame.opcode === opcodes.hello) {
          hellos.push(decode(frame.body[0]!) as DataHello)
          setImmediate(() => isOpen && handlers.onMessage(makeReply(frame, 0)))
          return
        }
        atOnceMax = Math.max(atOnceMax, ++atOnce)
        setImmediate(() => {
          atOnce--
          if (!isOpen) return
          const said = answer(frame, map)
          if (said) handlers.onMessage(makeReply(frame, said.status, [said.body]))
          else {
            isOpen = false
            handlers.onClose('reset')
          }
        })
      }
      const close = () => {
        isOpen = false
      }
      return { remote, send, queuedBytes: 0, pause() {}, resume() {}, close } as Connection<DataFrame>
    },
  }
  const mdm = {
    map,
    async subscribe() {},
    offerDeltas(deltas: readonly MapDelta[]) {
      for (const { version, changes } of deltas) {
        for (const change of changes)
          if (change.kind === 'slices') for (const one of change.slices) map.slices.get(change.poolId)![one.slice] = one
        map.version = version
      }
      return true
    },
  }
  const work = { mdm, link, settleMs, progress() {} } as unknown as CheckWork
  return { result: await runCheck(work), hellos, atOnceMax }
}

const ok = (report: CompareReport) => ({ status: 0, body: encode(report) })

t.test('check: every slice is compared once, at its primary, a few at a time', async t => {
  const seen: number[] = []
  const { result, hellos, atOnceMax } = await check(64, frame => {
    seen.push(frame.slice)
    return ok(equalReport(frame.slice))
  })
  t.match(result, { equal: true, slices: 64, chunksCompared: 128, bytesCompared: 64 * 8192, differenceCount: 0 })
  t.same(
    seen.sort((a, b) => a - b),
    Array.from({ length: 64 }, (_, slice) => slice),
  )
  t.same(hellos.map(hello => hello.deviceId).sort(), [deviceA, deviceB], 'one connection for each device')
  t.ok(
    hellos.every(hello => hello.kind === 'check' && hello.systemId === id(0)),
    'they say who they are',
  )
  t.ok(atOnceMax <= 4, `${atOnceMax} at once`)
})

t.test('check: a difference makes the result unequal and is listed', async t => {
  const difference = { volume: 30, chunk: 9, deviceId: deviceB, offsetBytes: 4096, what: 'bytes differ' }
  const { result } = await check(8, frame =>
    ok({ ...equalReport(frame.slice), differences: frame.slice === 3 ? [difference] : [] }),
  )
  t.equal(result.equal, false)
  t.same(result.differences, [difference])
})

t.test('check: a slice whose configuration has moved on is asked again with the new one', async t => {
  const epochs: number[] = []
  const { result } = await check(1, frame => {
    epochs.push(frame.epoch)
    if (frame.epoch === 6) return ok(equalReport(0))
    const delta = { version: 8, changes: [{ kind: 'slices', poolId, slices: [record(0, 6)] }] }
    return { status: errorTable.STALE_EPOCH.wire, body: encode([delta]) }
  })
  t.equal(result.equal, true)
  t.same(epochs, [5, 6])
})

t.test('check: a copy that falls out of sync meanwhile is waited for as long as was asked, and not longer', async t => {
  const epochs: number[] = []
  const losesItsSecond = (whenLost: (map: ClusterMap) => void) => (frame: DataFrame, map: ClusterMap) => {
    epochs.push(frame.epoch)
    if (frame.epoch !== 5) return ok(equalReport(0))
    const alone = { version: 8, changes: [{ kind: 'slices', poolId, slices: [{ ...record(0, 6), secondary: null }] }] }
    whenLost(map)
    return { status: errorTable.STALE_EPOCH.wire, body: encode([alone]) }
  }
  const comesBack = (map: ClusterMap) => {
    setTimeout(() => map.slices.get(poolId as never)!.splice(0, 1, record(0, 7)), 300)
  }
  t.equal((await check(1, losesItsSecond(comesBack), 60_000)).result.equal, true)
  t.same(epochs, [5, 7])

  const { result } = await check(
    1,
    losesItsSecond(() => {}),
  )
  t.match(result.notCompared, [{ slice: 0, reason: /one copy only/ }])
})

t.test('check: a connection that ends is opened again; a refusal for good is a slice not compared', async t => {
  let first = true
  const { result, hellos } = await check(2, frame => {
    if (frame.slice === 1) return { status: errorTable.MEDIA_ERROR.wire, body: Buffer.from('device sdb answered EIO') }
    if (!first) return ok(equalReport(0))
    first = false
    return null
  })
  t.equal(hellos.filter(hello => hello.deviceId === deviceA).length, 2)
  t.equal(result.equal, false)
  t.match(result.notCompared, [{ pool: 'pool1', slice: 1, reason: /sds-2 refused: device sdb answered EIO/ }])
})
