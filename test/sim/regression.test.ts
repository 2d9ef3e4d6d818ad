import t from 'tap'
import { play } from './play.js'

t.setTimeout(240_000)

/**
 * Seeds that have found something once, and what it was. A seed plays another story after most changes of the daemons or
 * of the simulator, so that these are a sample like any other; but a fixed one.
 */
const found: Record<number, string> = {
  8: 'requests under way during a clean stop of the SDC did not follow the map, and failed with EINVAL',
  25: 'a void role became valid again while its copy was away, and a loss was never reported',
  26: 'the MDM dies while everybody comes back',
  29: 'as 25, with two SDCs on one volume',
  37: 'a slow answer to hello was taken for an MDM that had gone back in time',
  59: 'as 25, after power losses of single SDSs',
  86: 'as 25, with a pool that is full',
  6000061: 'the operator believed an MDM that knew nothing, and left a failed device as it was',
  6000219:
    'a device was removed, and the master that was to have it released was deposed: its SDS kept it open for ever',
  6000234: 'a device failed where the pool could not do without it',
  3416: 'killed, started, and stopped before it met the MDM: its device counted as cleanly stopped',
}

/** The same, since there are short stories. */
const shortened: Record<number, string> = {
  65879762: 'a void role became valid again as the copy that joins beside it started over, while its copy was away',
  526392824: 'an SDS that was removed and added again went on with the sessions of its old id, and filled nobody',
  484860391: 'the operator had looked before a stalled master let the SDS enter maintenance, and never looked again',
  615269609: 'an SDS went on asking for a lease that its map had ended, and fought with the one that came after it',
  721639923: 'a device failed while the master was cut off, and the operator had left before the MDMs heard of it',
}

for (const [seeds, isWhole] of [
  [found, true],
  [shortened, false],
] as const)
  for (const [seed, what] of Object.entries(seeds))
    t.test(`seed ${seed}: whatever goes wrong, what was promised holds (${what})`, async t => {
      const { failure, lines } = await play(Number(seed), { isWhole })
      if (failure !== null) t.comment(lines.slice(-40).join('\n'))
      const how = `npm run sim -- --seed ${seed}${isWhole ? ' --whole' : ''}`
      t.equal(failure?.message, undefined, `${how} tells the whole story`)
    })

t.test('a seed replays the same history, event for event', async t => {
  const first = await play(7)
  const again = await play(7)
  t.equal(again.hash, first.hash)
  t.same(again.lines, first.lines)
  t.not((await play(9)).hash, first.hash)
})
