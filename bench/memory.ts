/**
 * What the memory of slow logins costs: `--accounts N` accounts (1,000,000 unless said otherwise) over 30 days, one in a hundred tried from
 * 64 addresses, the others from one to five, and all that four other nodes tell of those. CPU time of this process; memory is
 * what is in use after garbage was collected, and the resident set.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { SlowLogins } from '@ringwall/detect'
import { readOptions, whole } from '../tools/options.ts'

const { accounts } = readOptions({ accounts: whole(1_000_000, 1_000, 1_000_000) })
const DAY = 86_400_000
const T0 = 1_800_000_000_000
const MIB = 1_048_576

let seed = 42
/** A plain generator (Numerical Recipes): each run is the same. */
const random = (): number => (seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0)

const make = (self: string): SlowLogins =>
  new SlowLogins({
    self,
    limits: { sources: 1_000, windowMs: 30 * DAY },
    rearmMs: DAY,
    wordsOf: (text) => [0, Number(text)],
  })
const accountOf = (at: number): string => at.toString(16).padStart(32, '0')
const sourcesOf = (at: number): number => (at % 100 === 0 ? 64 : 1 + (at % 5))

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
/** Memory that is in use, MiB: of the heap, and of what stands beside it. */
function inUse(): number {
  collect()
  const { heapUsed, external } = process.memoryUsage()
  return (heapUsed + external) / MIB
}
const before = inUse()
const own = make('n1')
let events = 0
const begun = process.cpuUsage()
for (let at = 0; at < accounts; at += 1) {
  for (let source = 0; source < sourcesOf(at); source += 1) {
    own.observe({
      service: 'shop',
      source: String(random()),
      account: accountOf(at),
      failed: true,
      atMs: T0 + (random() % (30 * DAY)),
    })
    events += 1
  }
}
const { user, system } = process.cpuUsage(begun)
const cpuS = (user + system) / 1e6
const grown = (): string =>
  `${Math.round(inUse() - before)} MiB are in use, ${Math.round(process.memoryUsage.rss() / MIB)} MiB resident`
process.stdout.write(
  `memory::observe/accounts=${own.accounts} events=${events} days=30: ${((cpuS / events) * 1e6).toFixed(1)} µs each, ${grown()}\n`,
)

let [bytes, pieces] = [0, 0]
for (const piece of own.memory()) {
  bytes += piece.length
  pieces += 1
}
process.stdout.write(`memory::keep/accounts=${own.accounts}: ${Math.round(bytes / MIB)} MiB in ${pieces} pieces\n`)

let told = 0
let mergeUs = 0
for (const id of ['n2', 'n3', 'n4', 'n5']) {
  const other = make(id)
  for (let at = 0; at < accounts; at += 100) {
    for (let source = 0; source < 64; source += 1)
      other.observe({ service: 'shop', source: String(random()), account: accountOf(at), failed: true, atMs: T0 + 29 * DAY })
  }
  for (const piece of other.memory()) {
    const mergeBegun = process.cpuUsage()
    own.merge(id, piece, T0 + 30 * DAY)
    const { user, system } = process.cpuUsage(mergeBegun)
    mergeUs += user + system
    told += 1
  }
}
process.stdout.write(`memory::merge/nodes=4 summaries=${told}: ${(mergeUs / 1e3 / told).toFixed(1)} ms each, ${grown()}\n`)
if (own.accounts !== accounts) throw new Error(`${accounts - own.accounts} accounts were forgotten`)
