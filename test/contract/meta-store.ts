import t from 'tap'
import type { MetaKey, MetaStore, MetaStorePort, MetaWrite } from '../../src/ports/meta-store.js'

/** What a meta store promises, on whichever implementation. `settle` lets time pass until the promise is settled. */
export function metaStoreContract(
  name: string,
  setUp: () => { port: MetaStorePort; directory: string; settle: <T>(promise: Promise<T>) => Promise<T> },
): void {
  const commit = (store: MetaStore, writes: MetaWrite[]) =>
    new Promise<string | null>(resolve => store.commit(writes, resolve))
  const flush = (store: MetaStore) => new Promise<string | null>(resolve => store.flush(resolve))
  const keys = (store: MetaStore, prefix: MetaKey) => [...store.range(prefix)].map(entry => entry.key)

  t.test(`${name}: what was committed is read back, in a range by prefix and in key order`, async t => {
    const { port, directory, settle } = setUp()
    const store = await port.open(directory)
    const value = { n: 1, text: 'ü', list: [1, null, true], bytes: Buffer.from([0, 255]), big: 2 ** 50 }
    const names: MetaKey[] = [
      ['a', 10],
      ['a', 2],
      ['a', 2, 'x'],
      ['a', 'z'],
      ['a'],
      ['ab'],
      ['b', -1.5],
      [7],
      [7, 1],
      [8],
    ]
    t.equal(
      await settle(
        commit(
          store,
          names.map(put => ({ put, value })),
        ),
      ),
      null,
    )
    t.match(store.get(['a', 10]), { n: 1, text: 'ü', list: [1, null, true], big: 2 ** 50 })
    t.same(Buffer.from((store.get(['a', 10]) as typeof value).bytes), Buffer.from([0, 255]))
    t.equal(store.get(['a', 11]), undefined)
    t.same(keys(store, ['a']), [['a'], ['a', 2], ['a', 2, 'x'], ['a', 10], ['a', 'z']])
    t.same(keys(store, ['a', 2]), [
      ['a', 2],
      ['a', 2, 'x'],
    ])
    t.same(keys(store, [7]), [[7], [7, 1]])
    t.same(keys(store, []), [
      [7],
      [7, 1],
      [8],
      ['a'],
      ['a', 2],
      ['a', 2, 'x'],
      ['a', 10],
      ['a', 'z'],
      ['ab'],
      ['b', -1.5],
    ])
    const entries = [...store.range(['a'])]
    t.ok(entries.every(entry => (entry.value as typeof value).n === 1))
    await settle(store.close())
  })

  t.test(
    `${name}: commits take effect in the order of the calls, each as a whole, and not before they are visible`,
    async t => {
      const { port, directory, settle } = setUp()
      const store = await port.open(directory)
      const order: number[] = []
      const first = commit(store, [
        { put: ['k'], value: 1 },
        { put: ['gone'], value: 1 },
      ]).then(() => order.push(1))
      const second = commit(store, [{ put: ['k'], value: 2 }, { drop: ['gone'] }]).then(() => order.push(2))
      const third = commit(store, [{ drop: ['never there'] }]).then(() => order.push(3))
      t.equal(store.get(['k']), undefined)
      await settle(Promise.all([first, second, third]))
      t.same(order, [1, 2, 3])
      t.equal(store.get(['k']), 2)
      t.equal(store.get(['gone']), undefined)
      t.same(keys(store, []), [['k']])
      await settle(store.close())
    },
  )

  t.test(`${name}: a flush is answered when there is nothing to flush, and when there is`, async t => {
    const { port, directory, settle } = setUp()
    const store = await port.open(directory)
    t.equal(await settle(flush(store)), null)
    await settle(commit(store, [{ put: ['k'], value: 1 }]))
    t.same(await settle(Promise.all([flush(store), flush(store)])), [null, null])
    await settle(store.close())
  })

  t.test(`${name}: close finishes what is under way, may be repeated, and what was there is found again`, async t => {
    const { port, directory, settle } = setUp()
    const store = await port.open(directory)
    let answer: string | null | undefined
    store.commit([{ put: ['k'], value: 'v' }], error => (answer = error))
    await settle(Promise.all([store.close(), store.close()]))
    t.equal(answer, null)
    const again = await port.open(directory)
    t.equal(again.get(['k']), 'v')
    t.equal(await settle(commit(again, [{ put: ['k'], value: 'w' }])), null)
    t.equal(again.get(['k']), 'w')
    await settle(again.close())
  })

  t.test(`${name}: a directory is open once at a time`, async t => {
    const { port, directory, settle } = setUp()
    const store = await port.open(directory)
    await t.rejects(port.open(directory), { code: 'DEVICE_BUSY' })
    await settle(store.close())
    await settle((await port.open(directory)).close())
  })

  t.test(`${name}: many commits in many turns all arrive`, async t => {
    const { port, directory, settle } = setUp()
    const store = await port.open(directory)
    const all: Promise<string | null>[] = []
    for (let i = 0; i < 300; i++) {
      all.push(
        commit(store, [
          { put: ['n', i], value: i },
          { put: ['last'], value: i },
        ]),
      )
      if (i % 10 === 0) await settle(Promise.resolve())
      if (i % 50 === 0) all.push(flush(store))
    }
    t.ok((await settle(Promise.all(all))).every(error => error === null))
    t.equal(keys(store, ['n']).length, 300)
    t.equal(store.get(['last']), 299)
    await settle(store.close())
  })
}
