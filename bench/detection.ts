/**
 * What it costs to detect by the standard rules: `--signals N` signals (200,000 unless said otherwise) of many people through the detector of one node, half of
 * an hour of theirs; then what it tells, and what it costs another to take that in; what it costs to look for anomalies besides: to learn what
 * is usual, and to judge by it an hour later; what it costs to keep what was learned, and to take it up; and what it costs to compare as many requests with what 5,000 accounts are used to. CPU time of this
 * process, on one core.
 */
import { AnomalyDetector, hashText, Insiders, type InsiderUse, RuleDetector, type Signal } from '@ringwall/detect'
import { detectionRulesOf, STANDARD_DETECTION } from '@ringwall/ring'
import { readOptions, whole } from '../tools/options.ts'

const { signals } = readOptions({ signals: whole(200_000, 1_000, 10_000_000) })
const T0 = 1_800_000_000_000
let seed = 42
/** A plain generator (Numerical Recipes): each run is the same. */
const random = (): number => (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0) / 2 ** 32
const rules = detectionRulesOf({ services: {}, detectors: { standard: 'observe', rules: [] } })
const make = (self: string): RuleDetector =>
  new RuleDetector({ self, rules, rearmMs: 3_600_000, networkOf: (source) => source.slice(0, source.lastIndexOf('.')) })

const given = Array.from({ length: signals }, (_, at): Signal => {
  const user = Math.floor(random() * 50_000)
  const share = random()
  const isLogin = share < 0.05
  return {
    atMs: T0 + Math.floor((at * 1_800_000) / signals),
    service: 'shop',
    route: isLogin ? 'login' : 'products',
    method: isLogin ? 'POST' : 'GET',
    status: isLogin ? (random() < 0.1 ? 401 : 200) : random() < 0.02 ? 404 : 200,
    bytes: 9_000,
    source: `10.${user >> 14}.${(user >> 6) & 255}.${user & 63}`,
    fingerprint: `t13d1516h2_${Math.floor(24 * random() ** 2)}`,
    account: isLogin ? user.toString(16).padStart(32, '0') : undefined,
    session: random() < 0.4 ? `5${user.toString(16).padStart(31, '0')}` : undefined,
    path: hashText(`/products/${Math.floor(random() ** 2 * 5_000)}`),
    login: isLogin ? (random() < 0.1 ? 'failed' : 'good') : undefined,
    signup: false,
    tookMs: 5 + 40 * random(),
  }
})
const cpuS = (run: () => void): number => {
  const begun = process.cpuUsage()
  run()
  const { user, system } = process.cpuUsage(begun)
  return (user + system) / 1e6
}
const [one, other] = [make('n1'), make('n2')]
let findings = 0
const observeS = cpuS(() => {
  for (const signal of given) findings += one.observe(signal).length
})
for (const signal of given) other.observe(signal)
const perSecond = Math.round(signals / observeS)
process.stdout.write(
  `detection::observe/signals=${signals} rules=${STANDARD_DETECTION.length} keys=${one.keys}: ${perSecond} signals/s of CPU, ${((observeS / signals) * 1e6).toFixed(1)} µs each, ${findings} findings\n`,
)
let [bytes, pieces] = [0, 0]
const told: Uint8Array[] = []
const tellS = cpuS(() => {
  for (let summary = one.summary(T0 + 1_800_000); summary !== undefined; summary = one.summary(T0 + 1_800_000)) {
    bytes += summary.length
    pieces += 1
    told.push(summary)
  }
})
const mergeS = cpuS(() => {
  for (const summary of told) other.merge('n1', summary, T0 + 1_800_000)
})
process.stdout.write(
  `detection::tell/pieces=${pieces}: ${Math.round(bytes / 1_024)} KiB, ${((tellS / pieces) * 1e3).toFixed(1)} ms each; taken in for ${((mergeS / pieces) * 1e3).toFixed(1)} ms each\n`,
)
const odd = new AnomalyDetector({ seed: 'bench', deviations: 6, learnMs: 60_000, perHourMax: 6 })
for (const [what, laterMs] of [
  ['learn', 0],
  ['judge', 3_600_000],
] as const) {
  const later = given.map((signal) => ({ ...signal, atMs: signal.atMs + laterMs }))
  let found = 0
  const oddS = cpuS(() => {
    for (const signal of later) found += odd.observe(signal).length
  })
  const { actors, windows, bytes } = odd.size
  process.stdout.write(
    `anomalies::${what}/signals=${signals}: ${Math.round(signals / oddS)} signals/s of CPU, ${((oddS / signals) * 1e6).toFixed(1)} µs each, ${actors} actors and ${windows} windows in memory, ${Math.round(bytes / 1_048_576)} MiB of numbers, ${found} findings\n`,
  )
}
const pieces7: Uint8Array[] = []
for (let told = odd.summary(); told !== undefined; told = odd.summary()) pieces7.push(told)
process.stdout.write(
  `anomalies::tell/pieces=${pieces7.length}: ${Math.round(pieces7.reduce((sum, piece) => sum + piece.length, 0) / 1_024)} KiB\n`,
)
const END = T0 + 3_600_000 + 1_800_000
for (const [what, kept, begin] of [
  ['anomalies', odd, () => new AnomalyDetector({ seed: 'bench', deviations: 6, learnMs: 60_000, perHourMax: 6 })],
  ['detection', one, () => make('n1')],
] as const) {
  const memory: Uint8Array[] = []
  const keepS = cpuS(() => memory.push(...kept.memory(END)))
  const again = begin()
  const takeS = cpuS(() => again.restore(memory, END))
  const most = memory.reduce((largest, { length }) => Math.max(largest, length), 0)
  process.stdout.write(
    `${what}::keep/pieces=${memory.length}: ${Math.round(memory.reduce((sum, { length }) => sum + length, 0) / 1_024)} KiB, ${Math.round(keepS * 1e3)} ms of CPU, the largest ${Math.round(most / 1_024)} KiB; taken up in ${Math.round(takeS * 1e3)} ms\n`,
  )
}
const limits = { first: 12, firstAtOddHour: 4, many: 200 }
const insiders = new Insiders({
  limits: { secrets: limits, admin: limits, account: limits },
  learnDays: 7,
  share: 0.25,
  times: 4,
})
const accounts = Array.from({ length: 5_000 }, (_, at) => `shop\n${at.toString(16).padStart(32, '0')}`)
const endpoints = Array.from({ length: 8 }, (_, at) => hashText(`GET /part${at}/{}`))
const use = (atMs: number, subject: string, item: number, thing: number): InsiderUse => ({
  atMs,
  sort: 'account',
  subject,
  item,
  thing,
})
for (let day = 12; day > 0; day -= 1)
  for (const subject of accounts) for (const item of endpoints) insiders.observe(use(T0 - day * 86_400_000, subject, item, item))
const uses = Array.from({ length: signals }, (_, at) => {
  const subject = accounts[Math.floor(random() * accounts.length)] as string
  const item = endpoints[Math.floor(random() * endpoints.length)] as number
  return use(T0 + Math.floor((at * 1_800_000) / signals), subject, item, hashText(`/part/${Math.floor(random() * 1_000)}`))
})
let out = 0
const insiderS = cpuS(() => {
  for (const one of uses) out += insiders.observe(one).length
})
process.stdout.write(
  `detection::insiders/accounts=${accounts.length} requests=${signals}: ${((insiderS / signals) * 1e6).toFixed(1)} µs each, ${out} findings\n`,
)
