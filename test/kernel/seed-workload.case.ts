import t from 'tap'
import { shell, startLocalCluster } from '../support/local-cluster.js'

const workload = '--direct=1 --buffered=0 --iodepth=16 --bs=64k,32k --rw=randrw --rwmixread=45 --loops=2 --size=48M'
const verify = '--verify=crc32c --serialize_overlap=1'

t.test('seed workload: fio on /dev/nbdX and through its nbd engine sees no error and no wrong byte', async t => {
  const cluster = await startLocalCluster(t, '--volume', 'vol1:8G')
  const { device, uri } = cluster.volume('vol1')
  t.match(device, /^\/dev\/nbd\d+$/)
  for (const target of [`--ioengine=libaio --filename=${device}`, `--ioengine=nbd --uri='${uri}'`])
    for (const options of [workload, `${workload} ${verify}`]) {
      const output = await shell(`fio --name=seed ${target} ${options} --output-format=json`)
      const job = (JSON.parse(output) as { jobs: { error: number; write: { total_ios: number } }[] }).jobs[0]!
      t.equal(job.error, 0, `${target} ${options}`)
      t.ok(job.write.total_ios > 0)
    }
  await cluster.check()
})
