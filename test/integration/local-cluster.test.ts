import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { cpusOf } from '../../src/cli/local/process-table.js'
import { type LocalCluster, shell, startLocalCluster } from '../support/local-cluster.js'
import { runProgram } from '../support/run-program.js'

const isAlive = (pid: number): boolean => {
  try {
    return !/^\d+ \(.*\) [ZX]/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}
/** Where all threads but the event loop's may run. Not those that the kernel makes for io_uring, which come and go. */
function cpusOfOthers(pid: number): number[][] {
  const found: number[][] = []
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const task = `${pid}/task/${thread}`
    try {
      const isOfRing = readFileSync(`/proc/${task}/comm`, 'utf8').startsWith('iou-')
      if (Number(thread) !== pid && !isOfRing) found.push(cpusOf(task))
    } catch {
      // It has ended meanwhile.
    }
  }
  return found
}
const stateOf = async (cluster: LocalCluster, name: string): Promise<string | undefined> => {
  const status = JSON.parse(await cluster.local('status', '--json')) as { processes: { name: string; state: string }[] }
  return status.processes.find(process => process.name === name)?.state
}
const pidOf = (cluster: LocalCluster, name: string) =>
  cluster.file.processes.find(process => process.name === name)!.pid

t.test(
  'local: up makes a healthy cluster of separate processes, down ends it, up again goes on with its data',
  async t => {
    const cluster = await startLocalCluster(
      t,
      '--volume',
      'vol1:8G',
      '--volume',
      'vol2:8G:thick',
      '--device-size',
      '32G',
    )
    const { file } = cluster

    await t.test('cluster.json says what runs where', async t => {
      t.match(file.systemId, /^[0-9a-f]{16}$/)
      t.equal((file as unknown as { gateway: unknown }).gateway, null)
      t.same(
        file.processes.map(process => process.name),
        ['mdm-1', 'sds-1', 'sds-2', 'sds-3', 'sdc-1'],
      )
      t.equal(new Set(file.processes.map(process => process.pid)).size, 5, 'each is a process of its own')
      for (const process of file.processes) {
        t.ok(isAlive(process.pid), `${process.name} lives`)
        t.ok(statSync(process.log).isFile())
        t.match(await (await fetch(process.metrics)).text(), /^# HELP/m, `${process.name} has metrics`)
      }
      t.same(
        file.devices.map(device => [device.sds, device.faultSet]),
        [1, 2, 3].map(number => [`sds-${number}`, `fs-${number}`]),
      )
      for (const device of file.devices) t.ok(statSync(device.path).size >= 32 * 2 ** 30)
      t.same(
        file.volumes.map(({ name, sizeBytes, sdc }) => [name, sizeBytes, sdc]),
        [
          ['vol1', 8 * 2 ** 30, 'sdc-1'],
          ['vol2', 8 * 2 ** 30, 'sdc-1'],
        ],
      )
      t.match(file.volumes[0]!.uri, /^nbd\+unix:\/\/\/vol1\?socket=/)
    })

    await t.test('status shows health, up on a running cluster changes nothing', async t => {
      t.match(await cluster.local('status'), /healthy[\s\S]*pool1[\s\S]*vol1/)
      t.match(await cluster.local('up'), /everything was running already/)
      t.same(cluster.file, file)
      const other = await runProgram('blockmesh', ['local', 'up', '--dir', cluster.dir, '--sdss', '5'])
      t.match(other, { exit: 64, stderr: /--sdss: the cluster in this directory was made with 3/ })
    })

    const { uri } = cluster.volume('vol1')
    await shell(`qemu-io -f raw -c 'write -P 0x5a 1M 5M' -c flush '${uri}'`)
    await cluster.check()

    await t.test('the event loop of each SDS keeps to a CPU, their other threads run anywhere', t => {
      const cpus = cpusOf('self')
      if (cpus.length < 2) t.comment('there is but one CPU: nothing is dealt out')
      for (const sds of [1, 2, 3]) {
        const pid = pidOf(cluster, `sds-${sds}`)
        const others = cpusOfOthers(pid)
        t.ok(others.length > 4, `${others.length} other threads`)
        for (const allowed of others) t.same(allowed, cpus)
        t.same(cpusOf(`${pid}/task/${pid}`), cpus.length < 2 ? cpus : [cpus[(sds - 1) % cpus.length]])
      }
      t.end()
    })

    await t.test('down ends every process and keeps the data', async t => {
      await cluster.local('down')
      for (const process of file.processes) t.notOk(isAlive(process.pid), `${process.name} has ended`)
      t.match(await cluster.local('status'), /: down/)
      await cluster.local('up')
      t.equal(cluster.file.systemId, file.systemId)
      t.same(
        cluster.file.devices.map(device => device.id),
        file.devices.map(device => device.id),
      )
      t.match(await shell(`qemu-io -f raw -c 'read -P 0x5a 1M 5M' '${uri}'`), /read 5242880/)
      t.match(await cluster.check(), /Every chunk has two equal copies/)
    })

    await t.test('one process is suspended, goes on, is ended both ways and starts again', async t => {
      const pid = pidOf(cluster, 'sds-2')
      await cluster.local('stop', 'sds-2')
      t.equal(await stateOf(cluster, 'sds-2'), 'suspended')
      await cluster.local('cont', 'sds-2')
      t.equal(await stateOf(cluster, 'sds-2'), 'running')
      await cluster.local('terminate', 'sds-2')
      t.notOk(isAlive(pid))
      t.equal(await stateOf(cluster, 'sds-2'), 'down')
      t.match(await runProgram('blockmesh', ['local', 'cont', 'sds-2', '--dir', cluster.dir]), {
        exit: 66,
        stderr: /sds-2 is not running; start it with/,
      })
      const config = join(cluster.dir, 'sds-2', 'sds-2.yaml')
      writeFileSync(config, `${readFileSync(config, 'utf8').replace(/^cpus:.*\n/m, '')}cpus: 1023\n`)
      await cluster.local('start', 'sds-2')
      t.not(pidOf(cluster, 'sds-2'), pid, 'cluster.json names the new process')
      const log = readFileSync(join(cluster.dir, 'sds-2', 'sds-2.log'), 'utf8')
      t.match(log, /sched_setaffinity: EINVAL.*daemon\.cpus-not-kept/, 'which goes on without a CPU of its own')
      await cluster.local('kill', 'mdm-1')
      await cluster.local('start', 'mdm-1')
      t.match(await runProgram('blockmesh', ['local', 'start', 'mdm-1', '--dir', cluster.dir]), { exit: 73 })
      t.match(await runProgram('blockmesh', ['local', 'kill', 'sds-9', '--dir', cluster.dir]), { exit: 66 })
    })
  },
)

t.test('check: a byte that differs between the two copies is found and named', async t => {
  const cluster = await startLocalCluster(t, '--volume', 'vol1:8G', '--device-size', '8G')
  const pattern = Buffer.alloc(4096, 'a pattern that occurs nowhere else. ')
  const patternFile = join(cluster.dir, 'pattern')
  await shell(`printf '%s' '${pattern.toString('latin1')}' > '${patternFile}'`)
  await shell(`nbdcopy -- '${patternFile}' '${cluster.volume('vol1').uri}'`)
  await cluster.check()
  const spoilAndCheck = async (byte: string) => {
    await cluster.local('down')
    const spoiled = cluster.file.devices.find(device => spoil(device.path, pattern, byte))
    t.ok(spoiled, 'a copy of the pattern was found on a device')
    await cluster.local('up')
    return runProgram('blockmesh', ['check', '--dir', cluster.dir, '--json'])
  }
  let { exit, stdout } = await spoilAndCheck('X')
  // On a busy host an SDS may come back so late that one copy is made from the other, and the two are equal.
  for (const byte of ['Y', 'Z']) if (exit === 0) ({ exit, stdout } = await spoilAndCheck(byte))
  t.equal(exit, 74)
  const result = JSON.parse(stdout) as { equal: boolean; differences: { chunk: number }[] }
  t.equal(result.equal, false)
  t.match(result.differences, [{ chunk: 0 }])
})

/** Changes the byte before the first place where the pattern, but for that byte, stands in a sparse device file. */
function spoil(path: string, pattern: Buffer, byte: string): boolean {
  const rest = pattern.toString('latin1', 1)
  const offset = Number(execFileSync('python3', ['-c', findPattern, path, rest]).toString()) - 1
  if (offset < 0) return false
  execFileSync('bash', ['-c', `printf '${byte}' | dd of='${path}' bs=1 seek=${offset} conv=notrunc status=none`])
  return true
}

/** Reads only what is allocated: the files are sparse and large. */
const findPattern = `
import os, sys
path, want = sys.argv[1], sys.argv[2].encode('latin1')
f = os.open(path, os.O_RDONLY)
size, at = os.fstat(f).st_size, 0
while at < size:
    try: start = os.lseek(f, at, os.SEEK_DATA)
    except OSError: break
    at = os.lseek(f, start, os.SEEK_HOLE)
    found = os.pread(f, at - start, start).find(want)
    if found >= 0:
        print(start + found)
        sys.exit()
print(-1)
`
