import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** Compiles `NAME.cc` of this folder, to be preloaded into a process; null where there is no compiler. */
export async function preloadedLibrary(
  name: 'failing-disk' | 'failing-syncs' | 'late-ring-flag',
  dir: string,
): Promise<string | null> {
  const source = fileURLToPath(new URL(`../../../test/support/${name}.cc`, import.meta.url))
  const library = join(dir, `${name}.so`)
  try {
    await promisify(execFile)('g++', ['-std=c++17', '-shared', '-fPIC', '-O1', '-o', library, source, '-ldl'])
    return library
  } catch {
    return null
  }
}
