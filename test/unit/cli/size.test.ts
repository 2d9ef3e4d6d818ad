import t from 'tap'
import { GiB, MiB, TiB } from '../../../src/base/units.js'
import { formatSize, formatSizeTwice, parseSize } from '../../../src/cli/format/size.js'

t.test('sizes: G, GB and GiB are the same binary unit', async t => {
  for (const text of ['104G', '104GB', '104GiB', '104 GB', '104g'])
    t.equal(parseSize(text, 'the size'), 104 * GiB, text)
  t.equal(parseSize('1.5T', 'the size'), 1536 * GiB)
})

t.test('sizes: a number without a unit, or something else, is refused with what it was for', async t => {
  for (const text of ['8', '8X', '-8G', '', 'G'])
    t.throws(() => parseSize(text, '--device-size'), { code: 'BAD_ARGUMENT', message: /--device-size/ }, text)
})

t.test('sizes: people read the largest unit that fits, and the next one beside it', async t => {
  t.equal(formatSize(0), '0 Bytes')
  t.equal(formatSize(512 * MiB), '512 MB')
  t.equal(formatSize(1.5 * TiB), '1.5 TB')
  t.equal(formatSizeTwice(8 * GiB), '8 GB (8192 MB)')
  t.equal(formatSizeTwice(1.5 * TiB), '1.5 TB (1536 GB)')
})
