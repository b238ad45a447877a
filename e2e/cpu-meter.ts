/** What processes take of the CPU, second by second (Linux). */
import { readFileSync } from 'node:fs'

/** User and system time of a process, milliseconds; as much as was known of one that has ended. */
function cpuMs(pid: number, before = 0): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // After the name, which may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * 10
  } catch {
    return before
  }
}

export class CpuMeter {
  readonly #pids: readonly number[]
  readonly #first: readonly number[]
  readonly #beganAtMs = performance.now()
  readonly #timer: NodeJS.Timeout
  #last: readonly number[]
  #lastAtMs = performance.now()
  /** Of a core, of each process in each second. */
  readonly loads: number[][] = []

  constructor(pids: readonly number[]) {
    this.#pids = pids
    this.#first = pids.map((pid) => cpuMs(pid))
    this.#last = this.#first
    this.#timer = setInterval(() => this.#look(), 1_000)
  }

  #look(): void {
    const nowMs = performance.now()
    const now = this.#pids.map((pid, at) => cpuMs(pid, this.#last[at]))
    this.loads.push(now.map((value, at) => (value - (this.#last[at] as number)) / (nowMs - this.#lastAtMs)))
    this.#last = now
    this.#lastAtMs = nowMs
  }

  /** Of a core, of each process since it began. */
  stop(): readonly number[] {
    clearInterval(this.#timer)
    const tookMs = performance.now() - this.#beganAtMs
    return this.#pids.map((pid, at) => (cpuMs(pid, this.#last[at]) - (this.#first[at] as number)) / tookMs)
  }

  /** The longest that one of the processes was above this share of a core, in seconds. */
  longestAbove(share: number): number {
    let longest = 0
    for (const at of this.#pids.keys()) {
      let run = 0
      for (const load of this.loads) {
        run = (load[at] as number) > share ? run + 1 : 0
        longest = Math.max(longest, run)
      }
    }
    return longest
  }
}
