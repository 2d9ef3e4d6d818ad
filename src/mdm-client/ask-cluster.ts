import { StorageError } from '../base/errors.js'
import type { Endpoint } from '../model/index.js'
import type { Clock, Link } from '../ports/index.js'
import { type ClusterReport, controlVersion } from '../wire/control.js'
import { AddressBook, spell } from './address-book.js'
import { RequestTable } from './request-table.js'

export interface AskClusterOptions {
  addresses: readonly Endpoint[]
  /** null: takes any system. */
  systemId: string | null
  /** How long each MDM may take to answer. */
  timeoutMs: number
  clock: Clock
  link: Link
}

export interface ClusterAnswer {
  from: Endpoint
  report: ClusterReport
}

/**
 * What the MDM cluster says of itself, whether it has a master or not: all addresses are asked, and those that they name.
 * The master's answer is taken at once, else that of the member that knows most. UNREACHABLE if nobody answers, with what
 * came of each address; WRONG_SYSTEM if only other systems' MDMs do.
 */
export async function askCluster(options: AskClusterOptions): Promise<ClusterAnswer> {
  const book = new AddressBook(options.addresses)
  const asked = new Set<string>()
  const answers: ClusterAnswer[] = []
  let refusal: StorageError | null = null
  const ask = async (at: Endpoint): Promise<ClusterAnswer> => {
    asked.add(spell(at))
    try {
      const report = await askOne(at, options)
      answers.push({ from: at, report })
      if (report.self.role === 'Master') return { from: at, report }
      book.learn(report.mdms.map(({ endpoint }) => endpoint))
      const others = book.all.filter(other => !asked.has(spell(other)))
      return await Promise.any(others.map(ask))
    } catch (error) {
      if (!(error instanceof StorageError)) throw error
      if (error.code === 'WRONG_SYSTEM') refusal = error
      book.note(at, String(error.context.reason ?? error.message))
      throw error
    }
  }
  try {
    return await Promise.any(book.all.map(ask))
  } catch (error) {
    const best = answers.sort((a, b) => knowledgeOf(b) - knowledgeOf(a) || b.report.index - a.report.index)[0]
    if (best !== undefined) return best
    if (refusal !== null) throw refusal
    throw new StorageError('UNREACHABLE', { detail: 'no MDM answers', tried: book.story() }, { cause: error })
  }
}

/** A tie breaker knows its peers but not the configuration. */
const knowledgeOf = ({ report }: ClusterAnswer): number =>
  report.systemId === null ? 0 : report.self.kind === 'tieBreaker' ? 1 : 2 + report.term

function askOne(at: Endpoint, { systemId, timeoutMs, clock, link }: AskClusterOptions): Promise<ClusterReport> {
  const unreachable = (reason: string) => new StorageError('UNREACHABLE', { mdm: spell(at), reason })
  const requests = new RequestTable(clock, () => unreachable('it does not answer'))
  const connection = link.connectControl(at, {
    onMessage: message => void (message.kind === 'answer' && requests.answer(message)),
    onClose: reason => requests.lost(unreachable(reason)),
  })
  const request = (name: string, params: unknown) =>
    requests.add(name, params, timeoutMs, 'ends', message => connection.send(message))
  const isNotMaster = (error: unknown) => {
    if (!(error instanceof StorageError) || error.code !== 'NOT_MASTER') throw error
  }
  return request('hello', { version: controlVersion, role: 'tool', systemId, name: 'query' })
    .catch(isNotMaster)
    .then(() => request('queryCluster', {}) as Promise<ClusterReport>)
    .finally(() => connection.close())
}
