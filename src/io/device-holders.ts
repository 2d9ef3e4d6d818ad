import { readdir, readFile, readlink } from 'node:fs/promises'

/** Who has a device open or mounted, for people: `fio (4711), mounted on /mnt`; `unknown` where it cannot be seen. */
export async function holdersOf(path: string): Promise<string> {
  const holders = [...(await processesWith(path)), ...(await mountsOf(path))]
  return holders.length === 0 ? 'unknown' : holders.join(', ')
}

async function processesWith(path: string): Promise<string[]> {
  const found: string[] = []
  for (const process of (await readdir('/proc')).filter(name => /^\d+$/.test(name))) {
    if (!(await hasOpen(process, path))) continue
    const name = (await readFile(`/proc/${process}/comm`, 'utf8').catch(() => '')).trim()
    found.push(`${name} (${process})`)
  }
  return found
}

async function hasOpen(process: string, path: string): Promise<boolean> {
  const folder = `/proc/${process}/fd`
  const names = await readdir(folder).catch(() => [])
  for (const name of names) if ((await readlink(`${folder}/${name}`).catch(() => '')) === path) return true
  return false
}

async function mountsOf(path: string): Promise<string[]> {
  const mounts = await readFile('/proc/self/mounts', 'utf8').catch(() => '')
  return mounts
    .split('\n')
    .map(line => line.split(' '))
    .filter(([device]) => device === path)
    .map(([, place]) => `mounted on ${place}`)
}
