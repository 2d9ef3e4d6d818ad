/** A value as it stands in the file: the text of a scalar, or of each item of a list. */
export type ConfigValue = string | readonly string[]

/** One key of a configuration file. `parse` throws a `ConfigMistake` whose sentence says what to write instead. */
export interface ConfigKey<Value = unknown> {
  /** As written in the file; dots stand for nested maps. */
  key: string
  parse: (value: ConfigValue) => Value
  /** As it would be written. None: the key is required. null: absent is allowed and means null. */
  default?: string | null
  help: string
}

/** What a daemon can be told, by the name that its code uses. */
export type ConfigKeys = Record<string, ConfigKey>

/** The configuration that `loadConfig` makes of the keys. */
export type ConfigOf<Keys extends ConfigKeys> = {
  readonly [Name in keyof Keys]: ReturnType<Keys[Name]['parse']> | (Keys[Name] extends { default: null } ? null : never)
}

/** A value that will not do; the sentence goes behind `file:line: key = value: `. */
export class ConfigMistake extends Error {
  override readonly name = 'ConfigMistake'
}
