interface Event {
  at: number
  order: number
  action: () => void
}

/** Virtual time: what is due happens in order of time, then of being asked for. */
export class Timeline {
  #now = 0
  #order = 0
  /** A binary heap, the next event first. */
  readonly #heap: Event[] = []

  get now(): number {
    return this.#now
  }

  after(delay: number, action: () => void): void {
    const heap = this.#heap
    const event = { at: this.#now + delay, order: this.#order++, action }
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(event, heap[parent]!)) break
      heap[at] = heap[parent]!
      at = parent
    }
    heap[at] = event
  }

  /** Lets time pass until `end`. */
  run(end: number): void {
    while (this.#heap.length > 0 && this.#heap[0]!.at <= end) {
      const { at, action } = this.#takeFirst()
      this.#now = at
      action()
    }
    this.#now = end
  }

  #takeFirst(): Event {
    const heap = this.#heap
    const first = heap[0]!
    const last = heap.pop()!
    if (heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++
      if (!isBefore(heap[child]!, last)) break
      heap[at] = heap[child]!
      at = child
    }
    heap[at] = last
    return first
  }
}

const isBefore = (event: Event, other: Event) =>
  event.at < other.at || (event.at === other.at && event.order < other.order)
