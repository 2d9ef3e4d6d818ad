/**
 * States a fact that only a bug of ours can break. Asserts stay on in production: stopping a daemon is cheap, a wrong
 * byte is not. What the outside world can get wrong is a `StorageError` instead.
 */
export function assert(fact: unknown, sentence: string): asserts fact {
  if (!fact) throw new AssertionError(sentence)
}

export class AssertionError extends Error {
  override readonly name = 'AssertionError'
}
