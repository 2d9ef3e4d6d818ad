import t from 'tap'
import {
  type CheckedRequest,
  RegisterChecker,
  type RequestKind,
  sectorBytes,
  stampSectors,
} from './register-checker.js'

let nextId = 1

/** One volume of a few sectors, and requests to it. */
class Volume {
  readonly checker = new RegisterChecker('vol1')

  begin(kind: RequestKind, { process = 1, isFua = false } = {}): CheckedRequest {
    const place = { sdc: 'sdc-1', process, firstSector: 8, sectorCount: 2, isFua }
    const request: CheckedRequest = { id: nextId++, kind, ...place, begunAt: 0, isOrphan: false }
    this.checker.begin(request)
    return request
  }
  write(options = {}): CheckedRequest {
    const request = this.begin('write', options)
    this.checker.wrote(request)
    return request
  }
  flush(): void {
    this.checker.flushed(this.begin('flush'))
  }
  /** Ends a read that saw what `write` wrote, or zeroes. */
  sees(write: CheckedRequest | null, read = this.begin('read')): void {
    const bytes = Buffer.alloc(read.sectorCount * sectorBytes)
    if (write !== null) stampSectors(bytes, write.id, read.firstSector)
    this.checker.read(read, bytes)
  }
}

t.test('register: what was never written reads as zeroes, and an answered write as what it wrote', async t => {
  const volume = new Volume()
  volume.sees(null)
  const write = volume.write()
  volume.sees(write)
  t.throws(() => volume.sees(null), /returned zeroes/)
})

t.test('register: a read may see a write that is under way or not; once seen, nothing older', async t => {
  const volume = new Volume()
  const old = volume.write()
  const write = volume.begin('write')
  volume.sees(old)
  volume.sees(write)
  t.throws(() => volume.sees(old), /returned write/)
})

t.test('register: writes under way together may take effect in any order, but only in one', async t => {
  const volume = new Volume()
  const one = volume.begin('write')
  const two = volume.begin('write')
  volume.checker.wrote(two)
  volume.checker.wrote(one)
  const reads = [volume.begin('read'), volume.begin('read')]
  volume.sees(two, reads[0])
  volume.sees(two, reads[1])
  t.throws(() => volume.sees(one), /returned write/)
})

t.test('register: a write that failed has taken effect or not, and does neither later', async t => {
  const volume = new Volume()
  const old = volume.write()
  const failed = volume.begin('write')
  volume.checker.failed(failed)
  volume.sees(failed)
  t.throws(() => volume.sees(old), /returned write/)
  volume.write()
  t.throws(() => volume.sees(failed), /returned write/)
})

t.test('register: what a killed SDC left takes effect no later than its next process is served', async t => {
  const volume = new Volume()
  const orphan = volume.begin('write')
  volume.checker.abandoned(orphan)
  const write = volume.write({ process: 2 })
  volume.sees(write, volume.begin('read', { process: 2 }))
  t.throws(() => volume.sees(orphan, volume.begin('read', { process: 2 })), /returned write/)
})

t.test('register: a loss takes back what was not flushed, and nothing else', async t => {
  const volume = new Volume()
  const flushed = volume.write()
  volume.write()
  const kept = volume.begin('flush')
  volume.checker.flushed(kept)
  const last = volume.write()
  volume.checker.lost(() => true)
  t.throws(() => volume.sees(flushed), /returned write/)
  volume.sees(last)
})

t.test('register: after a loss the older value may be read, and from then on only that', async t => {
  const volume = new Volume()
  const flushed = volume.write()
  volume.flush()
  const unflushed = volume.write()
  volume.checker.lost(() => true)
  volume.sees(flushed)
  t.throws(() => volume.sees(unflushed), /returned write/)
})

t.test('register: a write with FUA survives a loss', async t => {
  const volume = new Volume()
  const old = volume.write()
  volume.write({ isFua: true })
  volume.checker.lost(() => true)
  t.throws(() => volume.sees(old), /returned write/)
})

t.test("register: torn sectors and another sector's bytes are nobody's write", async t => {
  const volume = new Volume()
  const write = volume.write()
  const bytes = Buffer.alloc(2 * sectorBytes)
  stampSectors(bytes, write.id, 8)
  bytes[sectorBytes - 1]! ^= 1
  t.throws(() => volume.checker.read(volume.begin('read'), bytes), /torn/)
  stampSectors(bytes, write.id, 9)
  t.throws(() => volume.checker.read(volume.begin('read'), bytes), /another sector/)
})

t.test(
  'register: a FLUSH that was under way during a loss, and is answered well, has covered what came before it',
  async t => {
    const volume = new Volume()
    const old = volume.write()
    const last = volume.write()
    const flush = volume.begin('flush')
    volume.checker.lost(() => true)
    volume.checker.flushed(flush)
    volume.sees(last)
    t.throws(() => volume.sees(old), /returned write/)
  },
)
