/** A daemon's own small files. Synchronous: all are tiny, and most are touched at start only. */
export interface StateDirectory {
  /** null if there is no such file. */
  read(name: string): Buffer | null
  /** Replaces the file as a whole, durably. */
  write(name: string, content: Buffer | string): void
  remove(name: string): void
  list(): string[]
  /** For writes in place. The file must exist. */
  open(name: string): StateFile
}

export interface StateFile {
  /** Survives the end of this process when it returns, not a power loss. */
  writeAt(offsetBytes: number, bytes: Buffer): void
  close(): void
}
