import type { Test } from 'tap'
import { fio, type LocalCluster } from '../support/local-cluster.js'

const workload = '--direct=1 --buffered=0 --iodepth=16 --bs=64k,32k --rw=randrw --rwmixread=45 --loops=2 --size=48M'
// With serialize_overlap fio 3.33 loses count of its own seeds where reads and writes differ in size ("bad header rand_seed",
// on a plain file and on other NBD servers as well), so that option runs with one size.
const variants = [workload, `${workload} --verify=crc32c`, `${workload} --verify=crc32c --serialize_overlap=1 --bs=32k`]

/** The seed workload of fio, on /dev/nbdX and through its nbd engine, sees no error and no wrong byte. */
export async function seedWorkload(t: Test, cluster: LocalCluster): Promise<void> {
  const { device, uri } = cluster.volume('vol1')
  t.match(device, /^\/dev\/nbd\d+$/)
  for (const target of [`--ioengine=libaio --filename=${device}`, `--ioengine=nbd --uri='${uri}'`])
    for (const options of variants) {
      const job = await wholeRun(t, `--name=seed ${target} ${options}`)
      t.ok(job.write.total_ios > 0, `${target} ${options}`)
    }
}

/**
 * fio 3.33 itself ends by a signal now and then in User-Mode-Linux (verifying a plain file: 10 of some 400 runs there, none of 160
 * on the host). Such a run says nothing, and is made again; what it finds wrong is never forgiven.
 */
async function wholeRun(t: Test, options: string) {
  for (let tries = 3; ; tries--)
    try {
      return await fio(options)
    } catch (error) {
      if (tries === 1 || !/got signal=|SIGSEGV|SIGABRT/.test(String(error)) || /verify:/.test(String(error)))
        throw error
      t.comment(`fio has ended by a signal; once more: ${options}`)
    }
}
