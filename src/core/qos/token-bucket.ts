import { assert } from '../../base/assert.js'

/**
 * How much a bucket holds, as time at its rate. The design allows a burst of up to one second's worth; a full second
 * would lift the mean of a ten-second measurement by 10%, and paying a burst back afterwards would lower the mean of
 * whoever measures after a warm-up. This much is 1.5% of ten seconds, and still bridges late timers without a loss of
 * throughput. Buckets start empty.
 */
export const burstMs = 150

/** A bucket of tokens (requests or bytes). `ratePerSec` 0: no limit. */
export interface TokenBucket {
  ratePerSec: number
  /** Negative while a request larger than the bucket is being paid back. */
  level: number
  filledAtMs: number
}

export const emptyBucket = (ratePerSec: number, nowMs: number): TokenBucket => ({
  ratePerSec,
  level: 0,
  filledAtMs: nowMs,
})

/** At least one token, or a slow bucket would never hold the one that a request takes. */
const capacityOf = (bucket: TokenBucket): number => Math.max(1, (bucket.ratePerSec * burstMs) / 1000)

export function fillBucket(bucket: TokenBucket, nowMs: number): void {
  assert(nowMs >= bucket.filledAtMs, 'the clock passed in runs forward')
  const earned = ((nowMs - bucket.filledAtMs) * bucket.ratePerSec) / 1000
  bucket.level = Math.min(capacityOf(bucket), bucket.level + earned)
  bucket.filledAtMs = nowMs
}

/**
 * How many ms until `want` tokens may be taken from a bucket filled just now; 0: at once. A request larger than the
 * bucket waits until it is full and borrows the rest, so it never starves; those behind it wait until that is earned.
 */
export function waitMsFor(bucket: TokenBucket, want: number): number {
  if (bucket.ratePerSec === 0) return 0
  const missing = Math.min(want, capacityOf(bucket)) - bucket.level
  // Sums of fractions fall short of a whole token by rounding; a wait of nanoseconds would only spin.
  return missing <= 1e-6 ? 0 : (missing * 1000) / bucket.ratePerSec
}

export function takeTokens(bucket: TokenBucket, want: number): void {
  if (bucket.ratePerSec !== 0) bucket.level -= want
}

/** A new rate from now on. What was earned or borrowed so far counts as time: it keeps its share of the bucket. */
export function setBucketRate(bucket: TokenBucket, ratePerSec: number, nowMs: number): void {
  fillBucket(bucket, nowMs)
  const scale = bucket.ratePerSec === 0 ? 0 : ratePerSec / bucket.ratePerSec
  bucket.ratePerSec = ratePerSec
  bucket.level = Math.min(capacityOf(bucket), bucket.level * scale)
}
