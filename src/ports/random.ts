/** Chance, as an argument. */
export interface Random {
  /** A whole number from 0 to `below` - 1. */
  integer(below: number): number
  /** `bytes` random bytes as lower-case hexadecimal. */
  hex(bytes: number): string
}
