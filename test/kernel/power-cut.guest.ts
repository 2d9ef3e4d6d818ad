import { createHash } from 'node:crypto'
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs'
import { open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { LocalCluster, shell } from '../support/local-cluster.js'
import { seededRandom } from '../support/seeded-random.js'

/**
 * Runs in the guest: `power-cut.guest.js WORK FILE-SYSTEM IO-MODE SEED load|verify`. Brings the cluster up, checks everything
 * that the journal in WORK says was synced, and then, unless it is only to verify, writes until the power goes. WORK is
 * the host's: what is synced there survives.
 */
const [work, fileSystem, ioMode, seedText, verb] = process.argv.slice(2) as [string, string, string, string, string]

const fileSystems: Record<string, { make: string; check: string }> = {
  ext4: { make: 'mkfs.ext4 -q -E nodiscard', check: 'e2fsck -fn' },
  xfs: { make: 'mkfs.xfs -q -K', check: 'xfs_repair -n' },
}
const tools = fileSystems[fileSystem]!
const random = seededRandom(Number(seedText))
const place = '/run/mnt'
const filesMax = 60
const fileBytesMax = 100_000
const fioOptions =
  `--directory=${place}/fio --rw=randwrite --bsrange=4k-64k --size=3M --ioengine=psync ` +
  '--verify=crc32c --verify_fatal=1 --end_fsync=1 --fsync=32 --output-format=terse'

/** What is on the disk for sure: the least version of each file, and fio's finished files. */
interface Journal {
  files: Map<number, number>
  fio: Map<string, number>
}

const journalPath = join(work, 'journal')
let journalFd = -1

function readJournal(): Journal {
  const journal: Journal = { files: new Map(), fio: new Map() }
  if (!existsSync(journalPath)) return journal
  // The last line may have been cut off with the power.
  for (const line of readFileSync(journalPath, 'utf8').split('\n').slice(0, -1)) {
    const [kind, name, version] = line.split(' ')
    if (kind === 'file') journal.files.set(Number(name), Number(version))
    else if (kind === 'fio') journal.fio.set(name!, Number(version))
    // From here on fio may overwrite it.
    else if (kind === 'fio-again') journal.fio.delete(name!)
  }
  return journal
}

function note(line: string): void {
  writeSync(journalFd, `${line}\n`)
  fsyncSync(journalFd)
}

/** What a file holds: its own name and version, so that nothing else passes for it. */
function contentOf(file: number, version: number): Buffer {
  const lengthBytes = 1 + ((file * 7919 + version * 104_729) % fileBytesMax)
  const content = Buffer.alloc(lengthBytes)
  let block = createHash('sha256').update(`${file} ${version}`).digest()
  for (let at = 0; at < lengthBytes; at += block.length) {
    block.copy(content, at)
    block = createHash('sha256').update(block).digest()
  }
  const head = Buffer.from(`${file} ${version}\n`)
  return Buffer.concat([head, content])
}

async function verifyFiles(journal: Journal): Promise<string[]> {
  const wrong: string[] = []
  for (const [file, versionMin] of journal.files) {
    const path = join(place, `file-${file}`)
    const content = await readFile(path).catch((error: Error) => {
      wrong.push(`file-${file}: version ${versionMin} was synced, and: ${error.message}`)
      return null
    })
    if (content === null) continue
    const [name, version] = content.toString('latin1', 0, 40).split('\n')[0]!.split(' ').map(Number)
    if (name !== file || !(version! >= versionMin))
      wrong.push(`file-${file}: version ${versionMin} was synced, and it is version ${version} of ${name}`)
    else if (!content.equals(contentOf(file, version!))) wrong.push(`file-${file}: version ${version} has wrong bytes`)
  }
  for (const [name, seed] of journal.fio)
    await shell(`fio --name=${name} --randseed=${seed} --verify_only=1 ${fioOptions}`).catch((error: Error) =>
      wrong.push(`fio's file ${name}: ${error.message}`),
    )
  return wrong
}

/** Each file again and again in a new version, as careful programs do it. */
async function writeFiles(versions: Map<number, number>): Promise<never> {
  for (;;) {
    const file = random.integer(filesMax)
    const version = (versions.get(file) ?? 0) + 1
    const path = join(place, `file-${file}`)
    const handle = await open(`${path}.new`, 'w')
    await handle.writeFile(contentOf(file, version))
    await handle.sync()
    await handle.close()
    await rename(`${path}.new`, path)
    const directory = await open(place, 'r')
    await directory.sync()
    await directory.close()
    versions.set(file, version)
    note(`file ${file} ${version}`)
  }
}

async function runFio(): Promise<never> {
  for (let number = 0; ; number++) {
    const name = `job-${number % 3}`
    const seed = random.integer(1_000_000)
    note(`fio-again ${name}`)
    await shell(`fio --name=${name} --randseed=${seed} --do_verify=0 ${fioOptions}`)
    note(`fio ${name} ${seed}`)
  }
}

async function trimAgainAndAgain(): Promise<never> {
  for (;;) {
    await new Promise(resolve => setTimeout(resolve, 1500))
    await shell(`fstrim --length 512M ${place}`)
  }
}

async function mount(device: string): Promise<void> {
  await shell(`mount ${device} ${place}`)
}

const journal = readJournal()
journalFd = openSync(journalPath, 'a')
const dir = '/run/disk/cluster'
const cluster = new LocalCluster(dir)
const isNew = !existsSync(join(work, 'made'))
await cluster.local(
  'up',
  '--wait',
  '300',
  ...(isNew ? ['--volume', 'vol1:8G', '--device-size', '8G', `--${ioMode}`] : []),
)
const device = cluster.volume('vol1').device!
mkdirSync(place, { recursive: true })
if (isNew) {
  await shell(`${tools.make} ${device}`)
  await mount(device)
  mkdirSync(join(place, 'fio'))
  await shell(`sync -f ${place}`)
  writeFileSync(join(work, 'made'), '')
  await shell(`sync ${join(work, 'made')}`)
} else {
  // Replays the file system's own journal. Nobody is told of a loss who has no answer from before the power cut.
  await mount(device)
  const wrong = await verifyFiles(journal)
  await shell(`umount ${place}`)
  await shell(`${tools.check} ${device} > ${work}/fsck 2>&1`).catch((error: Error) =>
    wrong.push(`${error.message}\n${readFileSync(join(work, 'fsck'), 'utf8')}`),
  )
  await cluster.check().catch((error: Error) => wrong.push(error.message))
  process.stdout.write(`${journal.files.size} files and ${journal.fio.size} files of fio checked\n`)
  if (wrong.length > 0) {
    await shell(`cp -r --sparse=always ${dir}/*/*.log ${work}/ || true`)
    throw new Error(wrong.join('\n'))
  }
  if (verb === 'load') await mount(device)
}
if (verb === 'load') {
  const ready = openSync(join(work, 'loading'), 'w')
  fsyncSync(ready)
  closeSync(ready)
  await Promise.all([writeFiles(new Map(journal.files)), runFio(), trimAgainAndAgain()])
}
await cluster.local('down')
