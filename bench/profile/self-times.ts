/** The part of V8's .cpuprofile that is used. */
export interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number } }[]
  samples: number[]
  timeDeltas: number[]
}

export interface SelfTimes {
  busyMs: number
  /** Most first. */
  rows: { place: string; ms: number; share: number }[]
}

/**
 * Time by function, without what it called; on a busy machine that includes waiting for a core. Waiting for events does not
 * count, nor does `dispatch`, the profiler's own start.
 */
export function selfTimes({ nodes, samples, timeDeltas }: CpuProfile): SelfTimes {
  const placeOf = new Map(nodes.map(({ id, callFrame }) => [id, placeName(callFrame)]))
  const usec = new Map<string, number>()
  samples.forEach((id, index) => {
    const place = placeOf.get(id)!
    usec.set(place, (usec.get(place) ?? 0) + timeDeltas[index]!)
  })
  for (const notOurs of ['(idle)', 'dispatch']) usec.delete(notOurs)
  const total = [...usec.values()].reduce((sum, value) => sum + value, 0)
  const rows = [...usec]
    .map(([place, value]) => ({ place, ms: value / 1000, share: value / total }))
    .sort((one, other) => other.ms - one.ms)
  return { busyMs: total / 1000, rows }
}

function placeName({ functionName, url, lineNumber }: CpuProfile['nodes'][number]['callFrame']): string {
  const file = url.replace(/^.*\/dist\//, '')
  return file === '' ? functionName : `${functionName || '(anonymous)'} ${file}:${lineNumber + 1}`
}
