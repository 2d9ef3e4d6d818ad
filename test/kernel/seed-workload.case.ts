import t from 'tap'
import { fio, startLocalCluster } from '../support/local-cluster.js'

const workload = '--direct=1 --buffered=0 --iodepth=16 --bs=64k,32k --rw=randrw --rwmixread=45 --loops=2 --size=48M'
// fio 3.33 miscounts its own seeds when serialize_overlap meets reads and writes of different sizes ("bad header
// rand_seed", on a plain file as well); with experimental_verify, which replays the writes' order, it does not.
const verifies = ['--verify=crc32c', '--verify=crc32c --serialize_overlap=1 --experimental_verify=1']

t.test('seed workload: fio on /dev/nbdX and through its nbd engine sees no error and no wrong byte', async t => {
  const cluster = await startLocalCluster(t, '--volume', 'vol1:8G')
  const { device, uri } = cluster.volume('vol1')
  t.match(device, /^\/dev\/nbd\d+$/)
  for (const target of [`--ioengine=libaio --filename=${device}`, `--ioengine=nbd --uri='${uri}'`])
    for (const options of [workload, ...verifies.map(verify => `${workload} ${verify}`)]) {
      const job = await fio(`--name=seed ${target} ${options}`)
      t.ok(job.write.total_ios > 0, `${target} ${options}`)
    }
  await cluster.check()
})
