import type { NbdErrno } from '../../src/sdc/nbd/index.js'
import { seededRandom } from '../support/index.js'
import { SimCluster } from './cluster.js'
import { planOf, type RunPlan } from './plan.js'
import { Situations } from './situations.js'

const base: Partial<RunPlan> = {
  sdss: 3,
  faultSets: 3,
  sdcs: 1,
  volumes: 1,
  devicesPerSds: 1,
  sliceCount: 16,
  spareSdss: 0,
  isShared: false,
  leaseMs: 1_000,
  graceMs: 60_000,
  sparePercent: 34,
  isThick: false,
  diskMs: 0.2,
  clockRates: false,
  zeroPadding: true,
  faults: [],
}

/** A whole system under virtual time for one story: who does what when is the test's, not drawn from a seed. */
export class Scene {
  readonly cluster: SimCluster
  readonly random = seededRandom(5)
  /** Why the MDM has changed slices, in order. */
  readonly events: string[] = []
  /** Why SDSs have refused sessions, in order. */
  readonly refusals: string[] = []
  /** Why devices have failed, in order. */
  readonly deviceFailures: string[] = []

  constructor(plan: Partial<RunPlan> = {}) {
    this.cluster = new SimCluster({ ...planOf(1), ...base, ...plan }, new Situations(), {
      onUp: () => {},
      onDown: () => {},
      onMap: () => {},
      onLog: (process, event, fields) => {
        if (process.role === 'mdm' && event === 'slices.changed') this.events.push(String(fields.why))
        if (event === 'sds.device-failed') this.deviceFailures.push(String(fields.reason))
        if (event === 'sds.hello-refused') this.refusals.push(String(fields.reason))
      },
      onBroken: error => {
        throw error
      },
    })
  }

  static async open(plan: Partial<RunPlan> = {}): Promise<Scene> {
    const scene = new Scene(plan)
    await scene.cluster.provision()
    return scene
  }

  get clock() {
    return this.cluster.clock
  }

  run(ms: number): Promise<void> {
    return this.clock.runFor(ms)
  }

  get isHealthy(): boolean {
    const records = [...(this.cluster.map?.slices.values() ?? [])].flat()
    return records.length > 0 && records.every(({ secondary, joining }) => secondary !== null && joining === null)
  }

  healthy(withinMs = 60_000): Promise<void> {
    return this.clock.runUntil(() => this.isHealthy, { withinMs, what: 'every slice has two copies' })
  }

  /** Slices whose primary is on the SDS. */
  leads(sds: string): number {
    return this.#countOn(sds, 'primary')
  }
  /** Slices of which the SDS has a copy in sync. */
  copiesOn(sds: string): number {
    return this.#countOn(sds, 'primary') + this.#countOn(sds, 'secondary')
  }

  #countOn(sds: string, role: 'primary' | 'secondary'): number {
    const { tables, slices } = this.cluster.map!
    const isOn = (id: string | null) => id !== null && tables.sdss.get(tables.devices.get(id)!.sdsId)!.name === sds
    return [...slices.values()].flat().filter(record => isOn(record[role])).length
  }

  /** What the application hears in the end. */
  write(atBytes: number, bytes: Buffer): Promise<NbdErrno | null> {
    return this.#ask((backend, done) => backend.write(atBytes, [bytes], false, done))
  }
  read(atBytes: number, target: Buffer): Promise<NbdErrno | null> {
    return this.#ask((backend, done) => backend.read(atBytes, target, done))
  }
  trim(atBytes: number, lengthBytes: number): Promise<NbdErrno | null> {
    return this.#ask((backend, done) => backend.trim(atBytes, lengthBytes, false, done))
  }

  flush(): Promise<NbdErrno | null> {
    return this.#ask((backend, done) => backend.flush(done))
  }

  #ask(
    begin: (backend: NonNullable<ReturnType<SimCluster['exportOf']>>, done: (errno: NbdErrno | null) => void) => void,
  ): Promise<NbdErrno | null> {
    const backend = this.cluster.exportOf('sdc-1', 'vol1')!
    const { clock } = this.cluster.process('sdc-1').ports!
    return new Promise(resolve => clock.deliver(() => begin(backend, resolve)))
  }
}
