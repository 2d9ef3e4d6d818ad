import t from 'tap'
import { AddressBook, endpointOf, spell } from '../../../src/mdm-client/address-book.js'

const [a, b, c] = ['a', 'b', 'c'].map(host => ({ host, port: 1 })) as [
  { host: string; port: number },
  { host: string; port: number },
  { host: string; port: number },
]

/** Tries so many times; nothing comes of it. */
const tries = (book: AddressBook, count: number): string =>
  Array.from({ length: count }, () => {
    const at = book.next()
    book.note(at, 'refused')
    return at.host
  }).join(' ')

t.test('address book: each address once in a round, and longer pauses between later rounds', async t => {
  const book = new AddressBook([a, b, c, a])
  t.equal(tries(book, 7), 'a b c a b c a')
  const pauses: number[] = []
  for (let round = 0; round < 10; round++) {
    tries(book, 2)
    pauses.push(Math.round(book.pauseMs))
    tries(book, 1)
  }
  t.same(pauses.slice(0, 3), [225, 338, 506])
  t.equal(pauses.at(-1), 1_000)
})

t.test('address book: a redirect is followed at once, but not in a round in which it has turned out wrong', async t => {
  const book = new AddressBook([a, b, c])
  tries(book, 1)
  book.redirect(c)
  t.ok(book.pauseMs < 10)
  t.equal(tries(book, 1), 'c')
  book.redirect(a)
  book.redirect({ host: '0.0.0.0', port: 1 })
  t.equal(tries(book, 2), 'b c')
})

t.test('address book: who is silent is left out of most rounds while others talk', async t => {
  const book = new AddressBook([a, b])
  book.note(book.next(), 'it does not answer', true)
  t.equal(tries(book, 5), 'b b b b a')
  const lonely = new AddressBook([a])
  for (let time = 0; time < 3; time++) lonely.note(lonely.next(), 'it does not answer', true)
  t.equal(tries(lonely, 1), 'a')
})

t.test('address book: after a master was found the search begins anew, with the others', async t => {
  const book = new AddressBook([a, b, c])
  tries(book, 5)
  book.found(b)
  t.equal(book.rounds, 0)
  t.equal(tries(book, 3), 'c a b')
})

t.test('address book: what is learned replaces what was learned, never what was configured', async t => {
  const book = new AddressBook([a])
  book.learn([b])
  book.learn([c, a])
  t.same(book.all.map(spell), ['a:1', 'c:1'])
  book.learn(Array.from({ length: 99 }, (_, n) => ({ host: `h${n}`, port: 1 })))
  t.equal(book.all.length, 17, 'nobody makes it long')
})

t.test('address book: a redirect is an address or nothing', async t => {
  t.same(endpointOf('10.0.0.1:6611'), { host: '10.0.0.1', port: 6611 })
  t.same(endpointOf('[::1]:6611'), { host: '::1', port: 6611 })
  for (const not of [undefined, 7, '', 'host', 'host:', ':1', 'host:0', 'host:99999', 'a b:c:1'])
    t.equal(endpointOf(not), null, String(not))
})
