/** Counts what is under way, so that closing can wait for it. */
export class Activity {
  private now = 0
  private waiting: (() => void)[] = []

  enter(): void {
    this.now++
  }

  leave(): void {
    this.now--
    if (this.now > 0 || this.waiting.length === 0) return
    const waiting = this.waiting
    this.waiting = []
    for (const resolve of waiting) resolve()
  }

  async idle(): Promise<void> {
    while (this.now > 0) await new Promise<void>(resolve => this.waiting.push(resolve))
  }
}
