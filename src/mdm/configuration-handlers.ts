import { StorageError } from '../base/errors.js'
import { exportConfiguration, parseConfiguration } from '../core/mdm/index.js'
import { change } from './admin-handlers.js'
import { type Handlers, tools } from './handlers.js'

/** The whole configuration as a file, and what follows from putting an older one in place. */
export const configurationHandlers: Handlers<
  'exportConfiguration' | 'importConfiguration' | 'acceptConfiguration' | 'queryRecovery'
> = {
  exportConfiguration: { roles: tools, handle: ({ mdm }) => ({ text: exportConfiguration(mdm.state) }) },

  importConfiguration: {
    roles: tools,
    handle: async call => {
      const { mdm, params } = call
      const parsed = parseConfiguration(params.text)
      if ('mistakes' in parsed)
        throw new StorageError('BAD_ARGUMENT', {
          detail: `the file cannot be imported: ${parsed.mistakes[0]}`,
          mistakes: parsed.mistakes.length,
        })
      const { configuration } = parsed
      await change(call, 'importConfiguration', () => ({ configuration, era: mdm.ports.random.hex(8) }))
      mdm.ports.log.warn('configuration.imported', {
        systemId: configuration.system.id,
        name: configuration.system.name,
        exportedAtVersion: parsed.mapVersion,
      })
      mdm.recovery.endOtherLives()
      return { systemId: configuration.system.id, mapVersion: parsed.mapVersion }
    },
  },

  acceptConfiguration: {
    roles: tools,
    handle: ({ mdm, params }) => mdm.recovery.accept(params.force ?? false),
  },

  queryRecovery: { roles: tools, handle: ({ mdm }) => ({ recovery: mdm.recovery.report() }) },
}
