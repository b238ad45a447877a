/**
 * Which sources go without an answer while there is too little time for all. Pure: time comes in.
 *
 * The event loop being late says that there is too little. Then a bound on requests a second of one source is found: lowered step by
 * step while the loop stays late, raised again slowly while it does not, and gone once it has refused nobody for a while. So those who ask most are
 * refused first, and who asks little is served as long as the others can be told from it. How much a source asks shows only when it is refused: until then no more
 * of it is seen than there is time for. Requests are counted in two tables by
 * two hashes, of which the smaller count holds: sources that share a place in both are rare, and nothing grows with their number.
 */

const PLACES = 8_192
/** How late the loop may be: a request waits for some turns of it, which together are what people notice. */
export const LATE_MS_MAX = 20
const LATE_MS_WELL = 8
/** Late once is a compilation, or another program; late so often in a row is too much work. */
const LATE_TICKS = 3
/** Nobody is refused for asking this little, unless hardly anybody asks more and the loop stays late; nor then for asking less than the other. */
const PER_SECOND_MIN = 50
const PER_SECOND_LEAST = 10
const VERY_LATE_TICKS = 4
const REFUSED_SHARE_ENOUGH = 0.5
const LOWER = 0.7
/** A fifth in a good second: whoever was put to rest comes back at once, and must not find everything open. */
const RAISE = 1.01
const RAISE_BELOW_MIN = 1.05
/** Whoever is refused gets no rest before: what it asks is to be seen. */
const SHOWN_MS = 1_500
/** Who has asked within this time may ask again, also when nothing gets through at the moment. */
const COMPANY_MS = 60_000
/** A bound that has refused nobody for so long is gone. */
const IDLE_MS = 10_000
const WINDOW_MS = 1_000

export class SourceShedding {
  readonly #seed: number
  /** Of this second and the one before, both tables one after the other. */
  #counts = new Uint32Array(2 * PLACES)
  #before = new Uint32Array(2 * PLACES)
  #windowEndsMs = Number.NEGATIVE_INFINITY
  /** Requests a second of one source; Infinity: all are served. */
  #perSecondMax = Number.POSITIVE_INFINITY
  #most = 0
  #mostBefore = 0
  /** Whose requests are most, by its place; whether others asked, and when last. */
  #mostPlace = -1
  #others = false
  #othersAtMs = Number.NEGATIVE_INFINITY
  #lateTicks = 0
  #refused = false
  #refusedAtMs = 0
  #boundAtMs = 0
  /** Since the last tick. */
  #asks = 0
  #refusals = 0
  #nowMs = 0

  /** @param seed A random 32-bit number, so that nobody knows who shares a place with whom. */
  constructor(seed: number) {
    this.#seed = seed | 0
  }

  get perSecondMax(): number {
    return this.#perSecondMax
  }

  /** There is too little time for all, or looks like it. */
  get pressed(): boolean {
    return this.#lateTicks > 0 || this.#perSecondMax !== Number.POSITIVE_INFINITY
  }

  /** There has been too little time for all, and who asks most is refused. */
  get bounds(): boolean {
    return this.#perSecondMax !== Number.POSITIVE_INFINITY
  }

  /** Whoever is refused is to be given a rest. */
  get rests(): boolean {
    return this.#nowMs - this.#boundAtMs >= SHOWN_MS
  }

  /** Counts a request. Returns whether it is to be served. @param source An address. */
  admits(source: string): boolean {
    const one = this.#place(source, this.#seed)
    const other = PLACES + this.#place(source, ~this.#seed)
    const counts = this.#counts
    const count = Math.min(++counts[one]!, ++counts[other]!)
    this.#asks++
    if (count > this.#most) {
      this.#most = count
      this.#mostPlace = one
    } else if (one !== this.#mostPlace) this.#others = true
    if (this.#perSecondMax === Number.POSITIVE_INFINITY) return true
    if (Math.max(count, Math.min(this.#before[one]!, this.#before[other]!)) <= this.#perSecondMax) return true
    this.#refused = true
    this.#refusals++
    return false
  }

  /**
   * Called a few times a second. @param lateMs How late the event loop was. @param nowMs Monotonic.
   * @param isKnocked Most of what there is to do is to drop connections: refusing those who ask little would not help.
   */
  tick(lateMs: number, nowMs: number, isKnocked = false): void {
    this.#nowMs = nowMs
    if (nowMs >= this.#windowEndsMs) {
      this.#windowEndsMs = nowMs + WINDOW_MS
      const oldest = this.#before
      this.#before = this.#counts
      this.#counts = oldest.fill(0)
      this.#mostBefore = this.#most
      this.#most = 0
    }
    if (this.#others) this.#othersAtMs = nowMs
    this.#others = false
    const most = Math.max(this.#most, this.#mostBefore)
    if (this.#refused) this.#refusedAtMs = nowMs
    this.#lateTicks = lateMs > LATE_MS_MAX ? this.#lateTicks + 1 : 0
    if (this.#lateTicks >= LATE_TICKS) {
      // Nobody would gain by it.
      const isAlone = nowMs - this.#othersAtMs > COMPANY_MS
      if (!isAlone) {
        const least = this.#least(isKnocked)
        if (this.#perSecondMax === Number.POSITIVE_INFINITY) this.#boundAtMs = nowMs
        this.#perSecondMax = Math.max(least, LOWER * Math.min(this.#perSecondMax, Math.max(most, least)))
      }
    } else if (this.#perSecondMax < PER_SECOND_MIN) {
      // As soon as it is less than very late: those who ask little are not what there is too little time for.
      if (lateMs <= LATE_MS_MAX) this.#perSecondMax *= RAISE_BELOW_MIN
    } else if (lateMs < LATE_MS_WELL && this.#perSecondMax !== Number.POSITIVE_INFINITY) {
      if (this.#refused) this.#perSecondMax *= RAISE
      else if (nowMs - this.#refusedAtMs > IDLE_MS) this.#perSecondMax = Number.POSITIVE_INFINITY
    }
    this.#refused = false
    this.#asks = 0
    this.#refusals = 0
  }

  /** How low the bound may go now. */
  #least(isKnocked: boolean): number {
    if (isKnocked) return PER_SECOND_MIN
    // As long as the bound refuses much, it is not too high: refusing those who ask less would hardly help.
    const refusesMuch = this.#refusals >= REFUSED_SHARE_ENOUGH * this.#asks
    if (this.#lateTicks >= VERY_LATE_TICKS && !refusesMuch) return PER_SECOND_LEAST
    return Math.min(PER_SECOND_MIN, this.#perSecondMax)
  }

  #place(text: string, seed: number): number {
    let hash = seed
    for (let at = 0; at < text.length; at += 1) {
      hash = Math.imul(hash ^ text.charCodeAt(at), 0x5bd1e995)
      hash ^= hash >>> 15
    }
    return (hash ^ (hash >>> 13)) & (PLACES - 1)
  }
}
