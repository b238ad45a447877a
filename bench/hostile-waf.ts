/**
 * `npm run hostile:waf [-- base|crs|DIR ...]`: what crafted requests cost the WAF, with the base rules and with the Core Rule Set
 * where it is installed, or with the rule sets named, at the highest paranoia level. Shapes that hurt parsers (nested JSON, blank
 * lines, thousands of parameters, cookies and parts, 1 MB of every character) and, for every pattern of the rules, texts that
 * nearly match, derived from its tree and repeated up to the body limit, as a form and as plain text; and long honest texts. Hostile requests come one
 * after the other, judged in turns as the proxy does it, and honest ones among them. Prints the number of inputs, the slowest
 * requests by CPU time, the delay of the event loop meanwhile, and memory.
 *
 * Fails (exit 1) when a request took more than 50 ms of CPU, the 99th percentile of the event loop's delay is 20 ms or more, or
 * memory grew by more than 256 MB.
 *
 *   --samples N     texts a pattern (4 for the base rules, 2 for others); every text is tried in several repetitions
 *   --seed N        another sequence of texts
 *   --work          prints where a unit of counted work costs most time, instead of the slowest requests
 */

import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setImmediate as turn } from 'node:timers/promises'
import { compileRules, type HeaderField, type RuleSet, type RuleSource } from '@ringwall/waf'
import { flag, readArguments, whole } from '../tools/options.ts'
import { filled, nearMisses, patternsOf, seededRandom } from './hostile-texts.ts'
import { BENCH_REQUESTS } from './requests.ts'
import { ruleSetNamed, USUAL_RULE_SETS } from './rule-sets.ts'

const BODY_BYTES_MAX = 131_072
const CPU_MS_MAX = 50
const DELAY_MS_MAX = 20
const GROWTH_BYTES_MAX = 256 * 1_048_576

const { options, words } = readArguments({ samples: whole(undefined), seed: whole(2_654_435_769), work: flag() })
const random = seededRandom(options.seed)

interface Hostile {
  readonly name: string
  readonly method?: string
  readonly target?: string
  readonly headers?: readonly HeaderField[]
  readonly body?: Uint8Array
}

const encoder = new TextEncoder()
const latin1 = (text: string): Uint8Array => Buffer.from(text, 'latin1')
const form: HeaderField = ['Content-Type', 'application/x-www-form-urlencoded']
const json: HeaderField = ['Content-Type', 'application/json']

function* shapes(): Generator<Hostile> {
  for (const [open, close] of [
    ['[', ']'],
    ['{"a":', '}'],
    ['[{"":', '}]'],
  ] as const) {
    for (const depth of [60, 64, 65, 2_000, 30_000]) {
      yield {
        name: `JSON nested ${depth} deep`,
        headers: [json],
        body: encoder.encode(`${open.repeat(depth)}1${close.repeat(depth)}`),
      }
    }
  }
  yield { name: 'JSON: one array of 65,000 numbers', headers: [json], body: encoder.encode(`[${filled('1,', 130_000)}1]`) }
  yield {
    name: 'JSON: 10,000 names',
    headers: [json],
    body: encoder.encode(`{${Array.from({ length: 10_000 }, (_, i) => `"k${i}":${i}`).join()}}`),
  }
  yield { name: 'JSON: a string of 120 KB of escapes', headers: [json], body: encoder.encode(`"${filled('\\u0027', 120_000)}"`) }
  yield { name: 'JSON without end', headers: [json], body: encoder.encode(filled('{"a":"', BODY_BYTES_MAX)) }
  for (const type of ['text/plain', 'application/json', 'multipart/form-data; boundary=x', 'application/xml', form[1]]) {
    for (const unit of ['\n', '\r\n', '\t \n'])
      yield {
        name: `2,000 blank lines as ${type}`,
        headers: [['Content-Type', type]],
        body: encoder.encode(filled(unit, 2_000 * unit.length)),
      }
  }
  for (let code = 0; code < 256; code += 1) {
    const text = filled(String.fromCharCode(code), 1_048_576)
    yield { name: `1 MB of character ${code} as text`, headers: [['Content-Type', 'text/plain']], body: latin1(text) }
    yield {
      name: `128 KB of character ${code} in a form`,
      headers: [form],
      body: latin1(`a=${filled(String.fromCharCode(code), BODY_BYTES_MAX)}`),
    }
  }
  yield { name: '10,000 parameters', target: `/?${Array.from({ length: 10_000 }, (_, i) => `p${i}=${i}`).join('&')}` }
  yield { name: '10,000 parameters of one name', headers: [form], body: encoder.encode(filled("a='&", 40_000)) }
  yield {
    name: '999 parameters, each an attack nearly',
    headers: [form],
    body: encoder.encode(Array.from({ length: 999 }, (_, i) => `p${i}=1'+or+x${i}+union+sel+%3Cscr+..%2F+%24(`).join('&')),
  }
  yield { name: '10,000 cookies', headers: [['Cookie', Array.from({ length: 10_000 }, (_, i) => `c${i}=${i}`).join('; ')]] }
  yield {
    name: '200 cookies of 500 characters',
    headers: [['Cookie', Array.from({ length: 200 }, (_, i) => `c${i}=${filled("'or <a $(", 500)}`).join('; ')]],
  }
  yield { name: '10,000 header fields', headers: Array.from({ length: 10_000 }, (_, i) => [`x-${i}`, `v${i}`] as const) }
  yield {
    name: '290 header fields of 1 KB',
    headers: Array.from({ length: 290 }, (_, i) => [`x-${i}`, filled("' or <x on ${ ", 1_024)] as const),
  }
  const part = (i: number): string => `--x\r\nContent-Disposition: form-data; name="n${i}"\r\n\r\nv\r\n`
  const multipart: HeaderField = ['Content-Type', 'multipart/form-data; boundary=x']
  yield {
    name: '2,000 parts',
    headers: [multipart],
    body: encoder.encode(`${Array.from({ length: 2_000 }, (_, i) => part(i)).join('')}--x--`),
  }
  yield { name: '40,000 boundaries', headers: [multipart], body: encoder.encode(filled('--x\r\n', BODY_BYTES_MAX)) }
  yield {
    name: 'XML of 20,000 open elements',
    headers: [['Content-Type', 'application/xml']],
    body: encoder.encode(filled('<a b="', BODY_BYTES_MAX)),
  }
  yield { name: 'a path of 64 KB', target: `/${filled('../%2e%2e/;', 65_536)}` }
  for (const unit of [
    '%25',
    '%u0027',
    '&#x27;',
    '\\u0027',
    "'",
    '"',
    '<',
    '<a ',
    '<a b=',
    '<iframe ',
    '<style>',
    '<link ',
    '<script>x',
    "' or ",
    '/*',
    '/**/',
    '--',
    '$(',
    '${',
    '`',
    ';"',
    '|',
    '{{',
    '..',
    '..%2f',
    '%252e',
    '(',
    ')(',
    'or 1',
    'union select ',
    '1 or ',
    '\n;',
    "';",
    ',(select ',
    '<!--',
    'on',
    ' onx=',
    'javascript:',
    'x;x|',
    ';\'"',
    '${${',
    '"x"+',
    'a=1,',
    "q'[",
    '$a$',
    '\\x27',
    '&lt;',
    '+ADw-',
    '\xef\xbc\x87',
    '::',
    'aaaa;',
    '%c0%ae',
  ]) {
    yield {
      name: `${JSON.stringify(unit)} over and over, in a form`,
      headers: [form],
      body: latin1(`a=${encodeURIComponent(filled(unit, BODY_BYTES_MAX)).slice(0, BODY_BYTES_MAX)}`),
    }
    yield {
      name: `${JSON.stringify(unit)} over and over, as text`,
      headers: [['Content-Type', 'text/plain']],
      body: latin1(filled(unit, BODY_BYTES_MAX)),
    }
    yield {
      name: `${JSON.stringify(unit)} over and over, in 900 fields`,
      headers: [form],
      body: latin1(
        Array.from({ length: 900 }, (_, i) => `f${i}=${encodeURIComponent(filled(unit, 40))}`)
          .join('&')
          .slice(0, BODY_BYTES_MAX),
      ),
    }
  }
}

/** Long texts that mean no harm: they have a bit of everything that rules look for, and take whole lengths of patterns that crafted ones do not. */
function* honestTexts(): Generator<Hostile> {
  const root = resolve(import.meta.dirname, '..')
  const read = (files: readonly string[]): string =>
    files
      .map((file) => readFileSync(join(root, file), 'utf8'))
      .join('\n')
      .replace(/[^\x00-\x7f]/g, '')
      .slice(0, 125_000)
  const documents = read(['docs/benchmarks.md', 'docs/threat-model.md', 'docs/operations.md', 'docs/policy.md', 'docs/vault.md'])
  const code = read([
    'packages/ring/src/application.ts',
    'packages/proxy/src/h2-connection.ts',
    'packages/consensus/src/voter.ts',
    'packages/node/src/queries.ts',
    'packages/ledger/src/ledger.ts',
  ])
  const html = documents
    .split('\n')
    .map((line) => `<p class="x">${line}</p>`)
    .join('\n')
  const prose = documents.replace(/[^A-Za-z .,\n]/g, '').repeat(2)
  for (const [what, text] of Object.entries({ documents, code, html, prose })) {
    const escaped = `q=${encodeURIComponent(text)}`.slice(0, BODY_BYTES_MAX)
    yield { name: `128 KB of honest ${what}, in a form`, headers: [form], body: latin1(escaped) }
    yield {
      name: `125 KB of honest ${what}, as text`,
      headers: [['Content-Type', 'text/plain']],
      body: latin1(text.slice(0, 125_000)),
    }
    const lines = text.split('\n').filter((line) => line !== '')
    const fields = lines.slice(0, 900).map((line, i) => `f${i}=${encodeURIComponent(line.slice(0, 120))}`)
    yield { name: `900 fields of honest ${what}`, headers: [form], body: latin1(fields.join('&').slice(0, BODY_BYTES_MAX)) }
  }
}

/** Texts in which a pattern's match comes late, or begins with what it looks like: what captured is asked of V8's matcher. */
function* lateMatches(): Generator<Hostile> {
  const unit = 'daTA:,2;%CHArs '
  for (const [begin, chars, middle] of [
    ['', 0, 'daTA:'],
    ['a', 60_000, ' data:'],
    ['data ', 60_000, ' data:'],
    ['javascript:', 80_000, '= data:'],
    ['@i m', 60_000, ' data:'],
    ['a', 80_000, ','],
    ['base64 charset <', 80_000, ','],
  ] as const) {
    const text = `${chars === 80_000 && middle === ',' ? 'data:' : ''}${filled(begin === '' ? 'a' : begin, chars)}${middle}${filled(unit, BODY_BYTES_MAX)}`
    yield {
      name: `a late match of rule 941170 after ${JSON.stringify(begin)}, in a form`,
      headers: [form],
      body: latin1(`q=${encodeURIComponent(text.slice(0, BODY_BYTES_MAX))}`.slice(0, BODY_BYTES_MAX)),
    }
  }
}

/** @param samples Texts a pattern. */
function* nearMissesOf(sources: readonly RuleSource[], samples: number): Generator<Hostile> {
  for (const { id, tree } of patternsOf(sources)) {
    for (const { unit, text } of nearMisses(tree, samples, BODY_BYTES_MAX, random)) {
      const name = `near miss of rule ${id}: ${JSON.stringify(unit.slice(0, 40))}`
      yield { name: `${name}, as text`, headers: [['Content-Type', 'text/plain']], body: latin1(text) }
      const escaped = `q=${encodeURIComponent(text.slice(0, BODY_BYTES_MAX))}`.slice(0, BODY_BYTES_MAX)
      yield { name: `${name}, in a form`, headers: [form], body: latin1(escaped) }
    }
  }
}

interface Judged {
  readonly cpuMs: number
  readonly work: number
  /** The CPU time of the longest piece of it that nothing could interrupt. */
  readonly longestMs: number
}

function cpuMsOf(run: () => void): number {
  const before = process.cpuUsage()
  run()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000
}

/** Judges as the proxy does, giving way between slices. */
async function judge(rules: RuleSet, { method, target, headers, body }: Hostile): Promise<Judged> {
  // What was seen before is remembered and costs less: here every request is the first of its kind.
  const transaction = rules.rehearse()
  let cpuMs = 0
  let longestMs = 0
  const piece = (run: () => void): void => {
    const ms = cpuMsOf(run)
    cpuMs += ms
    longestMs = Math.max(longestMs, ms)
  }
  let blocked = false
  piece(() => {
    blocked = transaction.requestHead({
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      target: target ?? '/',
      httpVersion: '1.1',
      headers: [['Host', 'shop.example'], ...(headers ?? [])],
      remoteAddress: '192.0.2.1',
    }).blocked
  })
  if (!blocked) {
    // A body over the limit is cut there, as the node does.
    const bytes = body ?? new Uint8Array()
    let slice: ReturnType<typeof transaction.requestBodyInSlices> | undefined
    piece(() => {
      slice = transaction.requestBodyInSlices(bytes.subarray(0, BODY_BYTES_MAX), bytes.length > BODY_BYTES_MAX)
    })
    for (let over = false; !over; ) {
      piece(() => {
        over = slice!() !== undefined
      })
      if (!over) await turn()
    }
  }
  return { cpuMs, longestMs, work: transaction.work }
}

function isOverWork(rules: RuleSet, sent: Hostile): boolean {
  const transaction = rules.begin()
  const { method, target, headers, body } = sent
  transaction.requestHead({
    method: method ?? 'POST',
    target: target ?? '/',
    httpVersion: '1.1',
    headers: headers ?? [],
    remoteAddress: '192.0.2.1',
  })
  return transaction
    .requestBody((body ?? new Uint8Array()).subarray(0, BODY_BYTES_MAX), false)
    .matches.some(({ message }) => message.includes('too much work'))
}

const SLOWEST = 12

interface Measured extends Judged {
  readonly input: Hostile
}

/** Keeps the highest few. */
function keep(list: Measured[], measured: Measured, by: (one: Measured) => number): void {
  if (list.length >= SLOWEST && by(measured) <= by(list.at(-1) as Measured)) return
  list.push(measured)
  list.sort((a, b) => by(b) - by(a))
  list.length = Math.min(list.length, SLOWEST)
}

/** Other processes and the collector add to a single measurement: the least of some is the request's own. */
async function again(rules: RuleSet, one: Measured): Promise<Measured> {
  let least: Judged = one
  for (let i = 0; i < 4; i += 1) {
    const next = await judge(rules, one.input)
    least = { ...next, cpuMs: Math.min(least.cpuMs, next.cpuMs), longestMs: Math.min(least.longestMs, next.longestMs) }
  }
  return { ...least, input: one.input }
}

async function measure(name: string, sources: readonly RuleSource[]): Promise<boolean> {
  const rules = compileRules(sources, { paranoia: 4 })
  const samples = options.samples ?? (name === 'base' ? 4 : 2)
  const honest = BENCH_REQUESTS.map(({ body, ...rest }) => ({ ...rest, ...(body === '' ? {} : { body: encoder.encode(body) }) }))
  // Compiled code, pools and the collector's young space first: what counts is a request, not the first ones of a process.
  for (const input of shapes()) await judge(rules, input)
  globalThis.gc?.()
  const before = process.memoryUsage().rss
  let peak = before
  let tried = 0
  let honestTried = 0
  let judgingHonest = Promise.resolve()
  const ticking = setInterval(() => {
    judgingHonest = judge(rules, honest[honestTried++ % honest.length] as Hostile).then(() => {})
  }, 5)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  delay.enable()
  const slowest: Measured[] = []
  const uncounted: Measured[] = []
  const longest: Measured[] = []
  for (const inputs of [shapes(), lateMatches(), honestTexts(), nearMissesOf(sources, samples)]) {
    for (const input of inputs) {
      // Making an input is a turn of its own: the delay that counts is the one that judging adds.
      await turn()
      const measured = { ...(await judge(rules, input)), input }
      await turn()
      tried += 1
      if (tried % 50 === 0) peak = Math.max(peak, process.memoryUsage().rss)
      keep(slowest, measured, ({ cpuMs }) => cpuMs)
      keep(longest, measured, ({ longestMs }) => longestMs)
      if (options.work && measured.cpuMs > 4) keep(uncounted, measured, ({ cpuMs, work }) => cpuMs / work)
    }
  }
  delay.disable()
  clearInterval(ticking)
  await judgingHonest
  const repeated: Measured[] = []
  for (const one of options.work ? uncounted : slowest) repeated.push(await again(rules, one))
  repeated.sort((a, b) => (options.work ? b.cpuMs / b.work - a.cpuMs / a.work : b.cpuMs - a.cpuMs))
  let pieceMs = 0
  let pieceOf = ''
  for (const one of longest) {
    const { longestMs } = await again(rules, one)
    if (longestMs <= pieceMs) continue
    pieceMs = longestMs
    pieceOf = one.input.name
  }
  const worst = Math.max(...repeated.map(({ cpuMs }) => cpuMs))
  const p99 = delay.percentile(99) / 1e6
  const line = (text: string): void => void process.stdout.write(`${text}\n`)
  line(`\n── ${name}: ${rules.ruleCount} rules, ${tried} hostile requests and ${honestTried} honest ones among them\n`)
  line(`  ms CPU  longest piece  million units of work`)
  for (const { cpuMs, longestMs, work, input } of repeated) {
    const over = isOverWork(rules, input) ? ' (refused: too much work)' : ''
    line(
      `${cpuMs.toFixed(1).padStart(8)}${longestMs.toFixed(1).padStart(9)}${(work / 1e6).toFixed(1).padStart(8)}  ${input.name}${over}`,
    )
  }
  line(
    `\nworst CPU of one request   ${worst.toFixed(1)} ms (at most ${CPU_MS_MAX}); longest piece of any ${pieceMs.toFixed(1)} ms: ${pieceOf}`,
  )
  line(
    `event loop delay p50, p99  ${(delay.percentile(50) / 1e6).toFixed(1)} ms, ${p99.toFixed(1)} ms (p99 under ${DELAY_MS_MAX})`,
  )
  line(
    `memory at its most         ${(peak / 1_048_576).toFixed(0)} MB, ${((peak - before) / 1_048_576).toFixed(0)} MB more than before`,
  )
  return worst <= CPU_MS_MAX && p99 < DELAY_MS_MAX && peak - before <= GROWTH_BYTES_MAX
}

const sets = (words.length > 0 ? words : USUAL_RULE_SETS).map((name) => ({ name, sources: ruleSetNamed(name) }))
for (const { name, sources } of sets) if (!(await measure(name, sources))) process.exitCode = 1
