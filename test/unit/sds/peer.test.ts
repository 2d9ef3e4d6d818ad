import t from 'tap'
import type { DeviceId } from '../../../src/base/ids.js'
import { type ConnectionHandlers, type Link, silentLog } from '../../../src/ports/index.js'
import { SdsContext } from '../../../src/sds/context.js'
import { CopySend, Peers } from '../../../src/sds/replicas.js'
import { encode } from '../../../src/wire/codec.js'
import { type DataFrame, makeFrame, makeReply, opcodes } from '../../../src/wire/data.js'
import { SimClock } from '../../support/sim-clock.js'
import { SimReadPasses } from '../../support/sim-read-passes.js'
import { SimWritePasses } from '../../support/sim-write-passes.js'
import { sdsIdOf } from './cluster.js'

const endpoint = { host: '10.0.0.2', port: 7072 }
const device = '0000000000000002' as DeviceId

/** A peer whose connections the test answers itself. */
function open() {
  const clock = new SimClock()
  const sessions: { handlers: ConnectionHandlers<DataFrame>; sent: DataFrame[] }[] = []
  const link = {
    connectData(_: unknown, handlers: ConnectionHandlers<DataFrame>) {
      const sent: DataFrame[] = []
      sessions.push({ handlers, sent })
      // A frame is numbered anew when it is sent again: what was sent is what it was then.
      return { remote: endpoint, queuedBytes: 0, send: (f: DataFrame) => sent.push({ ...f }), close: () => {} }
    },
  } as unknown as Link
  const context = new SdsContext(clock, link, silentLog, new SimReadPasses(clock), new SimWritePasses(clock))
  context.systemId = '5ca1ab1e00000000'
  const answered: number[] = []
  const owner = { copyAnswered: (send: CopySend) => void answered.push(send.frame.chunk) }
  const peers = new Peers(
    context,
    () => endpoint,
    () => {},
  )
  const welcome = () => {
    const { handlers, sent } = sessions.at(-1)!
    handlers.onMessage(makeReply(sent[0]!, 0, [encode({ sdsId: sdsIdOf(2), mapVersion: 0 })]))
  }
  const send = (chunk: number) => {
    const peer = peers.of(device)
    peer.send(new CopySend(owner, peer, makeFrame({ opcode: opcodes.copyWrite, chunk }), true))
  }
  return { clock, sessions, peers, answered, welcome, send }
}

const chunksOf = (sent: readonly DataFrame[]): number[] =>
  sent.filter(({ opcode }) => opcode === opcodes.copyWrite).map(({ chunk }) => chunk)

t.test('a new session gets what was not answered again, in the order in which it was first sent', async t => {
  const { clock, sessions, peers, answered, welcome, send } = open()
  const chunks = Array.from({ length: 100 }, (_, chunk) => chunk)
  for (const chunk of chunks) send(chunk)
  welcome()
  const [first] = sessions
  t.same(chunksOf(first!.sent), chunks)
  for (const frame of first!.sent.filter(({ opcode, chunk }) => opcode === opcodes.copyWrite && chunk % 3 === 1))
    first!.handlers.onMessage(makeReply(frame, 0))
  t.same(
    answered,
    chunks.filter(chunk => chunk % 3 === 1),
  )
  first!.handlers.onClose('reset')
  await clock.runFor(100)
  welcome()
  t.equal(sessions.length, 2)
  t.same(
    chunksOf(sessions[1]!.sent),
    chunks.filter(chunk => chunk % 3 !== 1),
  )
  peers.close()
})

t.test('an answer to an earlier sending counts for nothing', async t => {
  const { clock, sessions, peers, answered, welcome, send } = open()
  send(7)
  welcome()
  const [first] = sessions
  const early = first!.sent.find(({ opcode }) => opcode === opcodes.copyWrite)!
  first!.handlers.onClose('reset')
  await clock.runFor(100)
  welcome()
  sessions[1]!.handlers.onMessage(makeReply(early, 0))
  t.same(answered, [])
  sessions[1]!.handlers.onMessage(makeReply(sessions[1]!.sent.find(({ opcode }) => opcode === opcodes.copyWrite)!, 0))
  t.same(answered, [7])
  peers.close()
})
