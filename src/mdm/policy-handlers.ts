import { decide, type MdmState, resolve } from '../core/mdm/index.js'
import { lostRecords } from '../core/slices/index.js'
import { devicesOfSds, type Sds } from '../model/index.js'
import { change, poolOf } from './admin-handlers.js'
import type { Mdm } from './context.js'
import { type Handlers, tools } from './handlers.js'

/** How failures are handled: policies of pools, and maintenance of SDSs. */
export const policyHandlers: Handlers<
  'setRebuildPolicy' | 'setRebalancePolicy' | 'setGracePeriod' | 'enterMaintenance' | 'exitMaintenance'
> = {
  setRebuildPolicy: {
    roles: tools,
    handle: call =>
      change(call, 'setRebuildPolicy', state => ({ id: poolOf(state, call), policy: call.params.policy })),
  },
  setRebalancePolicy: {
    roles: tools,
    handle: call =>
      change(call, 'setRebalancePolicy', state => ({ id: poolOf(state, call), policy: call.params.policy })),
  },
  setGracePeriod: {
    roles: tools,
    handle: call => {
      const { gracePeriodMs } = call.params
      return change(call, 'setGracePeriod', state => ({ id: poolOf(state, call), gracePeriodMs }))
    },
  },

  enterMaintenance: {
    roles: tools,
    handle: async call => {
      const { mdm, params } = call
      const { id, name } = resolve(mdm.map, 'sdss', params.sds)
      const command = (state: MdmState) => {
        const sds = resolve(state.map, 'sdss', params.sds)
        return { id: sds.id, slices: withoutSds(mdm, state, sds) }
      }
      const leaving = mdm.registry.sds(id)
      try {
        // Roles that are handed over cost nobody a pause; what cannot be is promoted by the entry. Where that would be
        // refused, nothing is moved about for it.
        const { state } = mdm
        if (!('error' in decide(state, { kind: 'enterMaintenance', ...command(state) })))
          await mdm.rebuilds.handOver(id)
        const answer = await change(call, 'enterMaintenance', command)
        mdm.ports.log.warn('sds.maintenance', { sds: name, entered: true })
        return answer
      } finally {
        if (leaving) leaving.isLeaving = false
      }
    },
  },
  exitMaintenance: {
    roles: tools,
    handle: async call => {
      const { mdm, params } = call
      const answer = await change(call, 'exitMaintenance', ({ map }) => ({ id: resolve(map, 'sdss', params.sds).id }))
      mdm.ports.log.info('sds.maintenance', { sds: resolve(mdm.map, 'sdss', params.sds).name, entered: false })
      mdm.watch.look()
      return answer
    },
  },
}

/** The records without the copies of an SDS, as far as others can go on. */
function withoutSds({ watch }: Mdm, { map, epochHigh }: MdmState, sds: Sds) {
  const own = new Set<string>(devicesOfSds(map, sds.id).map(({ id }) => id))
  return lostRecords({
    isUnsound: () => false,
    map,
    epochHigh,
    isLost: id => own.has(id),
    leavesBeside: () => false,
    canGoOn: (id, slice) => watch.canGoOn(id, slice),
    keepsMarks: () => true,
  })
}
