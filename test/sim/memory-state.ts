import type { StateDirectory, StateFile } from '../../src/ports/index.js'
import type { Random } from '../../src/ports/random.js'

/** A state directory of one host: what is written in place survives its process, and a power loss only perhaps. */
export class MemoryState implements StateDirectory {
  readonly #durable = new Map<string, Buffer>()
  readonly #visible = new Map<string, Buffer>()
  #unsynced: { name: string; offsetBytes: number; bytes: Buffer }[] = []

  constructor(readonly random: Random) {}

  read(name: string): Buffer | null {
    const content = this.#visible.get(name)
    return content === undefined ? null : Buffer.from(content)
  }

  write(name: string, content: Buffer | string): void {
    this.#durable.set(name, Buffer.from(content))
    this.#visible.set(name, Buffer.from(content))
    this.#unsynced = this.#unsynced.filter(write => write.name !== name)
  }

  remove(name: string): void {
    this.#durable.delete(name)
    this.#visible.delete(name)
  }

  list(): string[] {
    return [...this.#visible.keys()].sort()
  }

  open(name: string): StateFile {
    return {
      writeAt: (offsetBytes, bytes) => {
        bytes.copy(this.#visible.get(name)!, offsetBytes)
        this.#unsynced.push({ name, offsetBytes, bytes: Buffer.from(bytes) })
      },
      close() {},
    }
  }

  powerLoss(): void {
    for (const { name, offsetBytes, bytes } of this.#unsynced)
      if (this.random.integer(2) === 0) bytes.copy(this.#durable.get(name) ?? Buffer.alloc(0), offsetBytes)
    this.#unsynced = []
    this.#visible.clear()
    for (const [name, content] of this.#durable) this.#visible.set(name, Buffer.from(content))
  }
}
