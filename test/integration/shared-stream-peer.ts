/**
 * Another process of this host, for shared-stream.test.ts: connects to the data endpoint at PORT and, as WHAT says, answers
 * each frame with its payload (`echo`), or says that many frames and is killed at once (a number).
 */
import { tcpLink } from '../../src/io/tcp-link.js'
import { makeFrame, makeReply, opcodes } from '../../src/wire/data.js'

const [port, what] = process.argv.slice(2)

const connection = tcpLink.connectData(
  { host: '127.0.0.1', port: Number(port) },
  {
    onMessage: frame => connection.send(makeReply(frame, 0, [Buffer.concat(frame.body)])),
    onClose: reason => {
      console.log(reason)
      process.exit()
    },
  },
)
if (what !== 'echo') {
  for (let i = 0; i < Number(what); i++)
    connection.send(makeFrame({ opcode: opcodes.write, requestId: i, body: [Buffer.alloc(1000, i)] }))
  // They leave at the end of the turn.
  setImmediate(() => setImmediate(() => process.kill(process.pid, 'SIGKILL')))
}
