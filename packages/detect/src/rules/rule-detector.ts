/**
 * Detection by rules: folds signals into counts by key, over all nodes, and says when a key is over what its rule allows. A finding comes once
 * for a key, and again after `rearmMs`.
 *
 * Nodes tell each other of keys that are well on their way; of a key that a node knows nothing of it keeps nothing, and what another tells counts
 * at most as much as what it saw itself. So a liar finds nobody where there is nothing, and fills nobody's memory.
 *
 * Pure and bounded: time is an argument; each rule has at most `keysMax` keys, the one that was touched longest ago goes first, counted.
 */
import { isKeepable, KeptReader, KeptWriter, TIME_MAX } from '../kept.ts'
import { Known, type KnownEntry } from '../known.ts'
import { Season } from '../season.ts'
import { hashText, type Signal } from '../signal.ts'
import { type Travel, Travels } from '../travel.ts'
import {
  compileFilter,
  type DetectionRule,
  DISTINCT_MEASURES,
  type DistinctMeasure,
  type Measure,
  type Novelty,
  type RuleFinding,
  type RuleKey,
} from './rule.ts'
import { KeyMemory, SLOTS } from './rule-memory.ts'
import { decodeRuleSummary, encodeRuleSummary, RULE_SUMMARY_KEYS_MAX, type RuleSummary } from './rule-summary.ts'

const KEYS_MAX = 20_000
const EVICTED_PARTS = 16
const CROWDED = 0.75
const KNOWN_SPAN_MS = 30 * 86_400_000
const LEARN_MS = 86_400_000
const KNOWN_MAX = 4_000_000
/** A key is told of from this part of its limits on. */
const TOLD_PART = 0.05
/** From this part on others are to hear of it soon: it may be the rest. */
const URGENT_PART = 0.2
/** And again when so much more is seen. */
const TOLD_MORE = 1.15
/** Of samples in one summary, so that it stays within its bytes. */
const HASHES_TOLD_MAX = 30_000
/** Standard deviations above what is usual, of counts that come at random. */
const SIGMAS = 6
const HOUR_MS = 3_600_000
/** What is counted over so long is rare enough that hours without any say as much as those with some. */
const RARE_MS = HOUR_MS
/** What was kept longer ago is as good as nothing. */
const KEPT_MS_MAX = KNOWN_SPAN_MS
const MEMORY_VERSION = 1
const PIECES = ['head', 'known', 'block', 'season'] as const

export interface RuleDetectorOptions {
  readonly self: string
  readonly rules: readonly DetectionRule[]
  readonly rearmMs: number
  /** The /24 or /48 of a source. */
  readonly networkOf: (source: string) => string | undefined
  /** Of hashes; the same on all nodes. */
  readonly seed?: number
  readonly keysMax?: number
  readonly knownMax?: number
}

type Matches = ReturnType<typeof compileFilter>

interface Compiled {
  readonly rule: DetectionRule
  readonly when: Matches
  readonly among: Matches | undefined
  readonly first: Matches | undefined
  readonly limits: readonly (readonly [Measure, number])[]
  readonly distinct: readonly DistinctMeasure[]
  readonly namesSources: boolean
  /** Which of the different `by`. */
  readonly keyAt: number
  readonly keys: Map<string, KeyMemory>
  readonly untold: Set<string>
  /** `untilMs` 0: a window has to pass first. */
  readonly seasons: Map<string, { readonly season: Season; untilMs: number }>
  /** Of all that changes what is counted. */
  readonly shape: number
  /** What is held against what is usual. */
  readonly usualOf: Measure
  readonly learnsByClock: boolean
}

export class RuleDetector {
  readonly #options: RuleDetectorOptions
  readonly #rules: readonly Compiled[]
  readonly #byName: ReadonlyMap<string, Compiled>
  #known: Known
  readonly #needsKnown: boolean
  readonly #novelty: Novelty
  #travels = new Travels()
  readonly #needsTravel: boolean
  /** Of the signal that is looked at; null: it was possible. */
  #travel: Travel | null | undefined
  readonly #keysMax: number
  /** Of the signal that is looked at: by `keyAt`; undefined where it was not asked for yet, null where there is none. */
  readonly #keysOf: (string | null | undefined)[]
  #network: string | null | undefined
  #evicted = 0
  #isUrgent = false

  constructor(options: RuleDetectorOptions) {
    this.#options = options
    this.#keysMax = options.keysMax ?? KEYS_MAX
    const keys = [...new Set(options.rules.map(({ by }) => by.join(' ')))]
    this.#keysOf = new Array(keys.length)
    this.#rules = options.rules.map((rule) => compile(rule, keys.indexOf(rule.by.join(' '))))
    this.#byName = new Map(this.#rules.map((compiled) => [compiled.rule.name, compiled]))
    this.#needsKnown = options.rules.some(({ when, among, after }) =>
      [when, among, after?.when].some((filter) => filter?.source !== undefined || filter?.device !== undefined),
    )
    this.#needsTravel = options.rules.some(({ when, among, after }) =>
      [when, among, after?.when].some((filter) => filter?.travel !== undefined),
    )
    this.#known = new Known({ entriesMax: this.#needsKnown ? (options.knownMax ?? KNOWN_MAX) : 1, spanMs: KNOWN_SPAN_MS })
    this.#novelty = {
      source: (signal) => this.#hasLearned(signal) && !this.#known.has(this.#sourceEntry(signal)),
      // Either speaks for it: people move about with one machine, and get another at home.
      device: (signal) => this.#hasLearned(signal) && !this.#deviceEntries(signal).some((entry) => this.#known.has(entry)),
      impossible: (signal) => this.#travelOf(signal) !== null,
    }
  }

  /** What an earlier detector of this node learned, as far as other rules change nothing of it. */
  inherit(before: RuleDetector): void {
    if (this.#needsKnown && before.#needsKnown) this.#known = before.#known
    if (this.#needsTravel && before.#needsTravel) this.#travels = before.#travels
    for (const { rule, shape, seasons } of this.#rules) {
      const other = before.#byName.get(rule.name)
      if (other?.shape !== shape) continue
      for (const [key, { season }] of other.seasons) seasons.set(key, { season, untilMs: 0 })
    }
  }

  /**
   * What is known and what is usual, in pieces, the first of which says when. Counts of windows are left out, and so is where accounts were logged in to last.
   */
  *memory(nowMs: number): Generator<Uint8Array> {
    const begin = (kind: (typeof PIECES)[number]): KeptWriter => new KeptWriter().u8(PIECES.indexOf(kind))
    yield begin('head').u8(MEMORY_VERSION).f64(nowMs).done()
    if (this.#needsKnown) yield* this.#known.memory(begin)
    for (const { rule, shape, seasons } of this.#rules)
      for (const [key, { season }] of seasons) {
        const [service, ...others] = key.split('\n') as [string, ...string[]]
        if (others.length !== 1 || others[0] !== service || !isKeepable(service)) continue
        const into = begin('season').text(rule.name).u32(shape).text(service)
        season.keep(into)
        yield into.done()
      }
  }

  /**
   * What `memory` gave, into a detector that has seen nothing. What rules do not ask for any more is passed over.
   *
   * @throws {MemoryMalformed} It is of another version, too old, or was changed. The detector is of no use then.
   */
  restore(pieces: Iterable<Uint8Array>, nowMs: number): void {
    let keptMs: number | undefined
    for (const piece of pieces) {
      const from = new KeptReader(piece)
      const kind = PIECES[from.u8('a kind of piece', PIECES.length - 1)]!
      if ((kind === 'head') !== (keptMs === undefined)) from.fail('when it was kept comes first, and once')
      if (kind === 'season') this.#restoreSeason(from)
      else if (kind !== 'head') {
        if (!this.#needsKnown) continue
        this.#known.restore(kind, from, { keptMs: keptMs!, nowMs, learnMs: LEARN_MS })
      } else {
        from.u8('the version', MEMORY_VERSION, MEMORY_VERSION)
        keptMs = from.f64('when it was kept', 1, TIME_MAX)
        if (Math.abs(nowMs - keptMs) > KEPT_MS_MAX) from.fail('it was kept more than 30 days from now')
      }
      from.end()
    }
  }

  #restoreSeason(from: KeptReader): void {
    const compiled = this.#byName.get(from.text('a rule'))
    const shape = from.u32('what it counts')
    const service = from.text('a service')
    const season = new Season()
    season.restore(from)
    if (compiled?.rule.usual === undefined || compiled.shape !== shape) return
    const key = `${service}\n${service}`
    if (compiled.seasons.has(key)) from.fail('each rule and service once')
    compiled.seasons.set(key, { season, untilMs: 0 })
  }

  /** Keys forgotten to stay within the bound. */
  get evicted(): number {
    return this.#evicted
  }

  /** Whether a key that is not told of since is so far on its way that others should hear of it at once. */
  get isUrgent(): boolean {
    return this.#isUrgent
  }

  get keys(): number {
    return this.#rules.reduce((sum, { keys }) => sum + keys.size, 0)
  }

  /** To begin with all is new, and nothing is said of it. */
  #hasLearned({ atMs }: Signal): boolean {
    return this.#known.sinceMs !== 0 && atMs - this.#known.sinceMs >= LEARN_MS
  }

  #travelOf({ service, account, place, atMs }: Signal): Travel | null {
    if (account === undefined || place === undefined) return null
    if (this.#travel === undefined) this.#travel = this.#travels.look(`${service} ${account}`, place, atMs) ?? null
    return this.#travel
  }

  #hash(text: string): number {
    return hashText(text, this.#options.seed)
  }

  #entry(text: string): KnownEntry {
    return [this.#hash(text), hashText(text, (this.#options.seed ?? 0) ^ 0x5bd1e995)]
  }

  #sourceEntry({ service, source }: Signal): KnownEntry {
    return this.#entry(`source ${service} ${source}`)
  }

  #deviceEntries(signal: Signal): readonly KnownEntry[] {
    const { service, account, fingerprint } = signal
    if (account === undefined) return []
    const network = this.#networkOf(signal)
    return [
      ...(fingerprint === undefined ? [] : [this.#entry(`program ${service} ${account} ${fingerprint}`)]),
      ...(network === null ? [] : [this.#entry(`network ${service} ${account} ${network}`)]),
    ]
  }

  observe(signal: Signal): readonly RuleFinding[] {
    const findings: RuleFinding[] = []
    this.#keysOf.fill(undefined)
    this.#network = undefined
    this.#travel = undefined
    for (const compiled of this.#rules) {
      const { rule } = compiled
      if (rule.service !== undefined && rule.service !== signal.service) continue
      // Any request shows that the service is there, and that nothing of the kind has come.
      if (rule.usual !== undefined && compiled.learnsByClock)
        this.#learn(compiled, `${signal.service}\n${signal.service}`, rule.usual, signal.atMs)
      const matches = compiled.when(signal, this.#novelty)
      const isFirst = compiled.first?.(signal, this.#novelty) === true
      if (!matches && !isFirst && (compiled.among === undefined || compiled.keys.size === 0)) continue
      let key = this.#keysOf[compiled.keyAt]
      if (key === undefined) {
        key = this.#keyOf(rule.by, signal)
        this.#keysOf[compiled.keyAt] = key
      }
      if (key === null) continue
      let memory = compiled.keys.get(key)
      if (isFirst) (memory ??= this.#begin(compiled, key)).firstAtMs = signal.atMs
      const isAmong = compiled.among?.(signal, this.#novelty) === true
      if (!matches) {
        if (isAmong) memory?.among(signal.atMs)
        continue
      }
      if (rule.after !== undefined) {
        if (memory === undefined || Math.abs(signal.atMs - memory.firstAtMs) > rule.after.within) continue
      }
      memory ??= this.#begin(compiled, key)
      const hashes = compiled.distinct.map((measure) => this.#hashOf(measure, signal))
      memory.add(signal.atMs, signal.bytes, isAmong, hashes)
      if (compiled.namesSources) memory.addSource(signal.source)
      if (memory.isNewSlot() || compiled.keys.size > this.#keysMax * CROWDED) {
        // The youngest last: insertion order is the order of eviction. While there is room it is exact to a part of the window.
        compiled.keys.delete(key)
        compiled.keys.set(key, memory)
      }
      const finding = this.#judge(compiled, key, memory, signal.atMs)
      if (finding !== undefined) findings.push(finding)
    }
    if (this.#needsKnown && signal.login === 'good') {
      this.#known.add(this.#sourceEntry(signal), signal.atMs)
      for (const entry of this.#deviceEntries(signal)) this.#known.add(entry, signal.atMs)
    }
    const { account, place, atMs } = signal
    if (this.#needsTravel && signal.login === 'good' && account !== undefined && place !== undefined)
      this.#travels.add({ account: `${signal.service} ${account}`, atMs, place })
    return findings
  }

  #begin(compiled: Compiled, key: string): KeyMemory {
    const memory = new KeyMemory(compiled.rule.within, compiled.distinct)
    compiled.keys.set(key, memory)
    if (compiled.keys.size > this.#keysMax) this.#evict(compiled)
    return memory
  }

  /** A part at once: to look for the oldest each time costs as many steps as were let go before. */
  #evict({ keys, untold }: Compiled): void {
    let left = Math.ceil(this.#keysMax / EVICTED_PARTS)
    for (const key of keys.keys()) {
      if (left-- === 0) break
      keys.delete(key)
      untold.delete(key)
      this.#evicted += 1
    }
  }

  /** Lines: no part has a line break. Null: the signal lacks a part of it. */
  #keyOf(by: readonly RuleKey[], signal: Signal): string | null {
    let key = signal.service
    for (const part of by) {
      const value = part === 'network' ? this.#networkOf(signal) : part === 'path' ? signal.path.toString(16) : signal[part]
      if (value === undefined || value === null || value.includes('\n')) return null
      key += `\n${value}`
    }
    return key
  }

  #networkOf({ source }: Signal): string | null {
    if (this.#network === undefined) this.#network = this.#options.networkOf(source) ?? null
    return this.#network
  }

  #hashOf(measure: DistinctMeasure, signal: Signal): number | undefined {
    switch (measure) {
      case 'paths':
        return signal.path
      case 'accounts':
        return signal.account === undefined ? undefined : this.#hash(signal.account)
      case 'sources':
        return this.#hash(signal.source)
      case 'networks':
        return this.#hash(this.#networkOf(signal) ?? signal.source)
      case 'fingerprints':
        return signal.fingerprint === undefined ? undefined : this.#hash(signal.fingerprint)
      case 'sessions':
        return signal.session === undefined ? undefined : this.#hash(signal.session)
      case 'routes':
        return this.#hash(signal.route ?? '')
    }
  }

  #judge(compiled: Compiled, key: string, memory: KeyMemory, nowMs: number): RuleFinding | undefined {
    const { rule, limits } = compiled
    let least = Number.POSITIVE_INFINITY
    for (const [measure, limit] of limits) least = Math.min(least, memory.ownOf(measure) / limit)
    if (least >= TOLD_PART && least >= memory.toldPart * TOLD_MORE) {
      compiled.untold.add(key)
      if (least >= URGENT_PART) this.#isUrgent = true
    }
    const usual = rule.usual === undefined ? undefined : this.#usual(compiled, key, memory, rule.usual, nowMs)
    if (memory.firedAtMs !== 0 && Math.abs(nowMs - memory.firedAtMs) < this.#options.rearmMs) return undefined
    if (usual === 'unknown') return undefined
    if (rule.share !== undefined && memory.share < rule.share) return undefined
    const counted: string[] = []
    let [nodes, confidence, first] = [1, 1, 0]
    for (const [measure, limit] of usual === undefined ? limits : withLimit(limits, compiled.usualOf)) {
      const total = memory.total(measure, nowMs)
      const wanted = measure === compiled.usualOf && usual !== undefined ? Math.max(limit, usual) : limit
      if (total.count < wanted) return undefined
      nodes = Math.max(nodes, total.nodes)
      confidence = Math.min(confidence, total.count / (total.count + wanted))
      if (first === 0) first = total.count
      counted.push(`${Math.round(total.count)} ${measure}`)
    }
    memory.firedAtMs = nowMs
    const values = key.split('\n')
    const named = rule.by.map((part, at): readonly [RuleKey, string] => [part, values[at + 1]!])
    const bySource = named.find(([part]) => part === 'source')
    const where = nodes === 1 ? 'on 1 node' : `on ${nodes} nodes`
    const share = rule.share === undefined ? '' : `, ${Math.round(100 * memory.share)} % of what it asked`
    const than = usual === undefined ? '' : `, where at most ${Math.round(usual)} are usual`
    const travel = rule.when.travel === undefined || !this.#travel ? '' : `, ${describeTravel(this.#travel)}`
    return {
      rule: rule.name,
      service: values[0]!,
      key: named,
      sources: bySource === undefined ? memory.sources() : [bySource[1]],
      count: first,
      nodes,
      confidence,
      reason: `${counted.join(', ')} in ${span(rule.within)}${share}${than}${travel}, seen ${where}`,
    }
  }

  /** What would be too much at this time. */
  #usual(compiled: Compiled, key: string, memory: KeyMemory, times: number, nowMs: number): number | 'unknown' {
    return this.#learn(compiled, key, times, nowMs, memory) ?? 'unknown'
  }

  /** Learns once a part of the window. @returns What would be too much; undefined: nobody knows yet. */
  #learn(compiled: Compiled, key: string, times: number, nowMs: number, memory = compiled.keys.get(key)): number | undefined {
    let known = compiled.seasons.get(key)
    if (known === undefined) {
      known = { season: new Season(), untilMs: nowMs + compiled.rule.within }
      compiled.seasons.set(key, known)
    }
    const everyMs = Math.min(HOUR_MS, compiled.rule.within / SLOTS)
    // Of a time to come, when the clock was set back.
    if (known.untilMs === 0 || known.untilMs - nowMs > compiled.rule.within + everyMs)
      known.untilMs = nowMs + compiled.rule.within
    // Most signals only have it looked at whether it is time.
    if (memory === undefined && nowMs < known.untilMs) return undefined
    const mean = known.season.usual(nowMs)
    const limit = mean === undefined ? undefined : Math.max(times * mean, mean + SIGMAS * Math.sqrt(mean + 1))
    if (nowMs >= known.untilMs) {
      known.untilMs = nowMs + everyMs
      memory?.pass(nowMs)
      const count = memory?.total(compiled.usualOf, nowMs).count ?? 0
      known.season.learn(count, nowMs, limit ?? Number.POSITIVE_INFINITY, everyMs)
    }
    return limit
  }

  /** What changed of keys on their way since it was told, and what is known since; undefined when there is nothing to tell. */
  summary(nowMs: number): Uint8Array | undefined {
    const keys: RuleSummary['keys'][number][] = []
    this.#isUrgent = false
    let hashes = 0
    for (const compiled of this.#rules) {
      for (const key of compiled.untold) {
        if (keys.length >= RULE_SUMMARY_KEYS_MAX || hashes >= HASHES_TOLD_MAX) break
        compiled.untold.delete(key)
        const memory = compiled.keys.get(key)
        if (memory === undefined) continue
        memory.toldPart = Math.min(...compiled.limits.map(([measure, limit]) => memory.ownOf(measure) / limit))
        const counts = memory.own(nowMs)
        hashes += counts.distinct.reduce((sum, sample) => sum + sample.hashes.length, 0)
        keys.push({ rule: compiled.rule.name, key, counts })
      }
    }
    const known = this.#known.news()
    const travels = this.#travels.news()
    if (keys.length === 0 && known.length === 0 && travels.length === 0) return undefined
    return encodeRuleSummary({ keys, known, travels })
  }

  /** @throws {SummaryMalformed} */
  merge(node: string, summary: Uint8Array, nowMs: number): readonly RuleFinding[] {
    const { keys, known, travels } = decodeRuleSummary(summary)
    if (node === this.#options.self) return []
    if (this.#needsKnown) this.#known.merge(node, known, nowMs)
    if (this.#needsTravel) this.#travels.merge(travels, nowMs)
    this.#travel = undefined
    return keys.flatMap(({ rule, key, counts }) => {
      const compiled = this.#byName.get(rule)
      const memory = compiled?.keys.get(key)
      // Of keys that nobody matched here nothing is kept. Policies may differ for a moment.
      if (compiled === undefined || memory === undefined || counts.distinct.length !== compiled.distinct.length) return []
      memory.merge(node, counts, nowMs)
      const finding = this.#judge(compiled, key, memory, nowMs)
      return finding === undefined ? [] : [finding]
    })
  }

  /** Forgets what is over. Call it every now and then. */
  expire(nowMs: number): void {
    for (const { keys, untold } of this.#rules) {
      for (const [key, memory] of keys) {
        if (!memory.isOver(nowMs) || Math.abs(nowMs - memory.firedAtMs) < this.#options.rearmMs) {
          memory.toldPart = 0
          continue
        }
        keys.delete(key)
        untold.delete(key)
      }
    }
  }
}

/** What is usual counts whether or not there is a limit on it. */
function withLimit(limits: Compiled['limits'], usualOf: Measure): Compiled['limits'] {
  return limits.some(([measure]) => measure === usualOf) ? limits : [[usualOf, 1], ...limits]
}

function compile(rule: DetectionRule, keyAt: number): Compiled {
  const limits = Object.entries(rule.over).filter((entry): entry is [Measure, number] => entry[1] !== undefined)
  const among = rule.share === undefined ? undefined : compileFilter(rule.among ?? {})
  return {
    rule,
    when: compileFilter(rule.when),
    among,
    first: rule.after === undefined ? undefined : compileFilter(rule.after.when),
    limits,
    distinct: DISTINCT_MEASURES.filter((measure) => rule.over[measure] !== undefined),
    keyAt,
    namesSources: !rule.by.includes('source'),
    keys: new Map(),
    untold: new Set(),
    seasons: new Map(),
    shape: shapeOf(rule),
    // Forty people of one office are no campaign: where addresses are counted and events are not, those are what is usual.
    usualOf: rule.over.events === undefined && rule.over.sources !== undefined ? 'sources' : 'events',
    learnsByClock: rule.within >= RARE_MS && rule.by.length === 1,
  }
}

function shapeOf({ by, when, among, after, over, within, share, usual, service }: DetectionRule): number {
  return hashText(JSON.stringify([by, when, among, after, over, within, share, usual, service]))
}

function describeTravel({ km, ms }: Travel): string {
  return `at least ${Math.round(km / 100) * 100} km from where the account was logged in to ${Math.max(1, Math.round(ms / 60_000))} min before`
}

function span(ms: number): string {
  if (ms % 86_400_000 === 0) return `${ms / 86_400_000} d`
  if (ms % 3_600_000 === 0) return `${ms / 3_600_000} h`
  return `${Math.max(1, Math.round(ms / 60_000))} min`
}
