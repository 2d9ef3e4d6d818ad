import t from 'tap'
import { type Listed, RequestList } from '../../../src/sds/request-list.js'

class Item implements Listed<Item> {
  listBefore: Item | null = null
  listAfter: Item | null = null
  isListed = false
  constructor(readonly name: string) {}
}

const names = (list: RequestList<Item>): string => [...list].map(({ name }) => name).join('')

t.test('requests stand in order of arrival, whoever leaves from wherever', async t => {
  const list = new RequestList<Item>()
  const [a, b, c, d] = [...'abcd'].map(name => new Item(name)) as [Item, Item, Item, Item]
  for (const item of [a, b, c, d]) list.add(item)
  t.equal(names(list), 'abcd')
  list.delete(b)
  t.equal(names(list), 'acd')
  list.delete(a)
  list.delete(d)
  t.equal(names(list), 'c')
  list.add(a)
  t.equal(names(list), 'ca')
  list.delete(c)
  list.delete(a)
  t.equal(names(list), '')
  t.equal(list.size, 0)
})

t.test('who has left knows nobody, and is not asked again', async t => {
  const list = new RequestList<Item>()
  const [a, b] = [...'ab'].map(name => new Item(name)) as [Item, Item]
  list.add(a)
  list.add(b)
  list.delete(a)
  t.match({ ...a }, { listBefore: null, listAfter: null, isListed: false })
  t.equal(b.listBefore, null)
  t.throws(() => list.delete(a), /was in the list/)
  t.throws(() => list.add(b), /once/)
})

t.test('the request that was handed out last may leave', async t => {
  const list = new RequestList<Item>()
  for (const name of 'abc') list.add(new Item(name))
  let seen = ''
  for (const item of list) {
    seen += item.name
    list.delete(item)
  }
  t.equal(seen, 'abc')
  t.equal(list.size, 0)
})
