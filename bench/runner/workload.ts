/** What fio does to a target, and what is asked of us there. */
export interface Workload {
  /** As `--only` has it; the name of its file. */
  name: string
  title: string
  /** fio's options for it; target, size and duration come from the runner. */
  fio: readonly string[]
  /** The figure that ratios are made of. */
  figure: 'iops' | 'mbPerSec'
  /** Ours divided by the raw file with direct I/O in the same run; `limit`: what two copies on one disk allow. */
  goal: { toRaw: number; limit: number | null } | null
}
