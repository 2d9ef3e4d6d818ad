/**
 * Mistakes that tests plant in the store, to prove that they would find them:
 *
 *     markSkipped     a chunk counts as marked, and nothing was written
 *     markVisible     a change begins once its mark is visible, not durable
 *     removeUnmarked  a removal is not marked
 *     unmarkTouched   a mark is cleared though the chunk was changed after the sync began
 */
export type StoreFlaw = 'markSkipped' | 'markVisible' | 'removeUnmarked' | 'unmarkTouched'

/** Empty in every daemon. */
export const storeFlaws = new Set<StoreFlaw>()
