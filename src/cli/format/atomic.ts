import { closeSync, fsyncSync, openSync, renameSync, writeFileSync } from 'node:fs'

/** Replaces a file whole: readers see the old one or the new one, also after a power loss. */
export function writeAtomically(path: string, text: string): void {
  const part = `${path}.${process.pid}.part`
  const file = openSync(part, 'w', 0o644)
  try {
    writeFileSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  renameSync(part, path)
}
