/**
 * `npm run bench:waf [-- base|crs|DIR ...]`: CPU of the engine alone, with the base rules and the Core Rule Set if it is
 * installed, or with the rule sets named: the four kinds of request of `bench:proxy` (for CRS beside libmodsecurity with
 * the same rules, where `cc` and its headers are installed), the time to load the rules, and the worst that crafted input costs. For every pattern of the rules, texts that nearly match are derived from its tree and repeated up to
 * the body limit; the slowest requests are printed with the pattern's rule. `SAMPLES=0` leaves them out.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { compileRules, type HeaderField, type RuleSet, type RuleSource } from '@ringwall/waf'
import { type CrsInstallation, findCrs, loadRuleLibrary } from '../packages/node/src/rules.ts'
import { toByteText } from '../packages/waf/src/bytes.ts'
import { isRegular } from '../packages/waf/src/operators/rx.ts'
import { type Pattern, parsePattern } from '../packages/waf/src/regex/syntax.ts'
import { parseRules } from '../packages/waf/src/seclang/parse.ts'
import { BENCH_REQUESTS, type BenchRequest } from './requests.ts'

const BODY_BYTES_MAX = 131_072
const SAMPLES = Number(process.env.SAMPLES ?? 12)

function cpuMicroseconds(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

function load(sources: readonly RuleSource[]): void {
  const runs = Array.from({ length: 7 }, () => cpuMicroseconds(() => void compileRules(sources, { paranoia: 1 })))
  const first = runs[0] as number
  const warm = [...runs].sort((a, b) => a - b)[3] as number
  process.stdout.write(`load: ${(first / 1_000).toFixed(1)} ms the first time, ${(warm / 1_000).toFixed(1)} ms warm\n\n`)
}

function headersOf(headers: readonly HeaderField[], bodyBytes: number): readonly HeaderField[] {
  const length: readonly HeaderField[] = bodyBytes > 0 ? [['Content-Length', String(bodyBytes)]] : []
  return [['Host', 'shop.example.test'], ...headers, ...length]
}

function judge(
  rules: RuleSet,
  method: string,
  target: string,
  headers: readonly (readonly [string, string])[],
  body: Uint8Array,
): boolean {
  const transaction = rules.begin()
  const head = transaction.requestHead({
    method,
    target,
    httpVersion: '1.1',
    headers: headersOf(headers, body.length),
    remoteAddress: '192.0.2.1',
  })
  return head.blocked || transaction.requestBody(body, false).blocked || transaction.log().blocked
}

/** `undefined` where libmodsecurity, its headers or a C compiler are missing. */
function buildModsecurity(directory: string): string | undefined {
  const program = join(directory, 'modsecurity')
  const source = join(import.meta.dirname, 'modsecurity.c')
  const { status } = spawnSync('cc', ['-O2', '-o', program, source, '-lmodsecurity'], { stdio: 'ignore' })
  return status === 0 ? program : undefined
}

/** The same rules for libmodsecurity: CRS as it is installed, JSON bodies parsed as its recommended configuration has them. */
function modsecurityRules(directory: string, { setup, files }: CrsInstallation): string {
  const file = join(directory, 'modsecurity.conf')
  const lines = [
    'SecRuleEngine On',
    'SecRequestBodyAccess On',
    'SecRequestBodyLimit 13107200',
    'SecRule REQUEST_HEADERS:Content-Type "^application/json" "id:1,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"',
    'SecAuditEngine Off',
    `SecTmpDir ${directory}`,
    `SecDataDir ${directory}`,
    ...[setup, ...files.filter((name) => name.endsWith('.conf'))].map((name) => `Include ${name}`),
  ]
  writeFileSync(file, `${lines.join('\n')}\n`)
  return file
}

function modsecurityMicroseconds(program: string, rules: string, { method, target, headers, body }: BenchRequest): number {
  const fields = headersOf(headers, Buffer.byteLength(body)).map(([name, value]) => `${name}\t${value}`)
  const { stdout, stderr } = spawnSync(program, [rules, '200'], {
    input: [method, target, ...fields, '', body].join('\n'),
    encoding: 'utf8',
  })
  const micros = Number.parseFloat(stdout)
  if (Number.isNaN(micros)) throw new Error(`libmodsecurity: ${stderr}`)
  if (stdout.trim().endsWith('1')) throw new Error('libmodsecurity refuses the request; the figure would be that of a refusal')
  return micros
}

function kinds(rules: RuleSet, crs: CrsInstallation | undefined): void {
  const directory = mkdtempSync(join(tmpdir(), 'ringwall-bench-waf-'))
  const program = crs === undefined ? undefined : buildModsecurity(directory)
  const config = crs === undefined ? '' : modsecurityRules(directory, crs)
  const beside = program === undefined ? '' : `${'libmodsecurity'.padStart(16)}${'times'.padStart(8)}`
  process.stdout.write(`${'request'.padEnd(28)}${'µs CPU'.padStart(10)}${'requests/s'.padStart(12)}${beside}\n`)
  for (const request of BENCH_REQUESTS) {
    const { name, method, target, headers, body } = request
    const bytes = new TextEncoder().encode(body)
    if (judge(rules, method, target, headers, bytes)) throw new Error(`${name} is refused; the figure would be that of a refusal`)
    const perRound = 1_000
    const rounds = Array.from({ length: 9 }, () =>
      cpuMicroseconds(() => {
        for (let i = 0; i < perRound; i += 1) judge(rules, method, target, headers, bytes)
      }),
    )
    const micros = (rounds.slice(2).sort((a, b) => a - b)[3] as number) / perRound
    let line = `${name.padEnd(28)}${micros.toFixed(0).padStart(10)}${(1_000_000 / micros).toFixed(0).padStart(12)}`
    if (program !== undefined) {
      const theirs = modsecurityMicroseconds(program, config, request)
      line += `${theirs.toFixed(0).padStart(16)}${(theirs / micros).toFixed(1).padStart(8)}`
    }
    process.stdout.write(`${line}\n`)
  }
  rmSync(directory, { recursive: true, force: true })
}

/** A small generator, so that a run can be repeated (xorshift32, Marsaglia 2003). */
let state = 0x9e3779b9
function random(below: number): number {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % below
}

/** A text that a pattern would match, up to look-arounds and anchors. */
function sample(pattern: Pattern): string {
  switch (pattern.kind) {
    case 'set': {
      const members = [...pattern.set.keys()].filter((code) => pattern.set[code] === 1)
      const plain = members.filter((code) => code > 32 && code < 127)
      const from = plain.length > 0 ? plain : members
      return from.length === 0 ? '' : String.fromCharCode(from[random(from.length)] as number)
    }
    case 'seq':
      return pattern.items.map(sample).join('')
    case 'alt':
      return sample(pattern.items[random(pattern.items.length)] as Pattern)
    case 'repeat':
      return Array.from({ length: Math.min(pattern.max, pattern.min + random(4)) }, () => sample(pattern.item)).join('')
    case 'group':
      return sample(pattern.item)
    default:
      return ''
  }
}

function patterns(sources: readonly RuleSource[]): { readonly id: string; readonly tree: Pattern }[] {
  const found: { id: string; tree: Pattern }[] = []
  let id = '?'
  for (const source of sources) {
    if (source.kind === 'data') continue
    for (const node of parseRules(source)) {
      if (node.kind !== 'rule') continue
      id = node.actions.find(({ name }) => name === 'id')?.value?.text ?? id
      if (node.operator.name === 'rx') found.push({ id, tree: parsePattern(toByteText(node.operator.argument.text)) })
    }
  }
  return found
}

/** Near misses: whole matches, beginnings of matches, and their alternation, repeated. */
function* hostile(tree: Pattern): Generator<string> {
  for (let i = 0; i < SAMPLES; i += 1) {
    const text = sample(tree)
    if (text === '') continue
    const cut = text.slice(0, 1 + random(text.length))
    for (const unit of [
      cut,
      text.slice(0, -1) || text,
      `${cut}${sample(tree).slice(0, 3)}`,
      cut[cut.length - 1] as string,
      ' ',
      '\n',
      'a',
    ])
      yield `${cut.slice(0, random(cut.length + 1))}${unit.repeat(Math.ceil(BODY_BYTES_MAX / unit.length))}`
  }
}

function worst(rules: RuleSet, sources: readonly RuleSource[]): void {
  const all = patterns(sources)
  const irregular = all.filter(({ tree }) => !isRegular(tree)).map(({ id }) => id)
  process.stdout.write(
    `\n${all.length} patterns; with look-around or back-references: ${irregular.length === 0 ? 'none' : irregular.join(', ')}\n`,
  )
  if (SAMPLES === 0) return
  const slowest: { id: string; micros: number; text: string }[] = []
  let tried = 0
  for (const { id, tree } of all) {
    for (const text of hostile(tree)) {
      const body = new TextEncoder().encode(`q=${encodeURIComponent(text.slice(0, BODY_BYTES_MAX))}`).subarray(0, BODY_BYTES_MAX)
      const headers = [['Content-Type', 'application/x-www-form-urlencoded']] as const
      const micros = cpuMicroseconds(() => void judge(rules, 'POST', '/', headers, body))
      tried += 1
      slowest.push({ id, micros, text })
      if (slowest.length > 200) slowest.sort((a, b) => b.micros - a.micros).length = 8
    }
    if (process.stderr.isTTY) process.stderr.write(`\rhostile inputs: ${tried}`)
  }
  if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
  slowest.sort((a, b) => b.micros - a.micros).length = 5
  process.stdout.write(`\n${tried} crafted bodies of 128 KB, the slowest:\n${'ms CPU'.padStart(8)}  made for rule\n`)
  for (const { id, micros, text } of slowest)
    process.stdout.write(`${(micros / 1_000).toFixed(1).padStart(8)}  ${id}  ${JSON.stringify(text.slice(0, 50))}…\n`)
}

function crsNamed(name: string): CrsInstallation | undefined {
  try {
    return name === 'base' ? undefined : findCrs(name === 'crs' ? undefined : name)
  } catch {
    return undefined
  }
}

const library = loadRuleLibrary({})
const named = process.argv.slice(2)
const wanted = named.length > 0 ? named : ['base', ...(library.has('crs') ? ['crs'] : [])]
for (const name of wanted) {
  const sources = library.get(name) ?? loadRuleLibrary({ named: resolve(name) }).get('named')!
  process.stdout.write(`\n── ${name}\n`)
  load(sources)
  kinds(compileRules(sources, { paranoia: 1 }), crsNamed(name))
  // At the highest level every rule runs.
  worst(compileRules(sources, { paranoia: 4 }), sources)
}
