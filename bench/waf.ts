/**
 * `npm run bench:waf [-- base|crs|DIR ...]`: CPU of the engine alone, with the base rules and the Core Rule Set if it is
 * installed, or with the rule sets named: the time to load the rules in a new process, without and with what an earlier start left,
 * and the four kinds of request of `bench:proxy` (for CRS beside libmodsecurity and Coraza with the same rules, where `cc` and the former's
 * headers are installed, and Go), with the 99th percentile of the time that one takes. What crafted requests cost is for `hostile:waf`.
 */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compileRules, type HeaderField, type RuleSet, type RuleSource } from '@ringwall/waf'
import { type CrsInstallation, findCrs } from '../packages/node/src/rules.ts'
import { BENCH_REQUESTS, type BenchRequest } from './requests.ts'
import { ruleSetNamed, USUAL_RULE_SETS } from './rule-sets.ts'

function cpuMicroseconds(work: () => void): number {
  const before = process.cpuUsage()
  work()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

/** What a new process of `LOAD` does: compiles a rule set once, with the file of prepared facts or writing it. */
function loadOnce(sources: readonly RuleSource[], file: string, isPrepared: boolean): void {
  const began = performance.now()
  const micros = cpuMicroseconds(() => {
    const prepared = isPrepared ? { prepared: readFileSync(file) } : {}
    compileRules(sources, { paranoia: 1, ...prepared, onPrepared: (bytes) => writeFileSync(file, bytes) })
  })
  process.stdout.write(`${micros / 1_000} ${performance.now() - began}\n`)
}

const LOAD = '--load'

/** The least CPU time of five processes: what others do on the machine only adds to it. */
function load(name: string): void {
  const directory = mkdtempSync(join(tmpdir(), 'ringwall-bench-waf-'))
  const file = join(directory, 'prepared')
  const measure = (how: 'cold' | 'prepared'): string => {
    const runs = Array.from({ length: 5 }, () => {
      const { stdout, stderr } = spawnSync(process.execPath, [...process.execArgv, import.meta.filename, LOAD, name, file, how], {
        encoding: 'utf8',
        // As `ringwall` itself starts: what V8 made of the code is kept, too.
        env: how === 'cold' ? process.env : { ...process.env, NODE_COMPILE_CACHE: join(directory, 'code') },
      })
      const [cpuMs, wallMs] = stdout.trim().split(' ').map(Number)
      if (cpuMs === undefined || wallMs === undefined) throw new Error(`loading failed: ${stderr}`)
      return { cpuMs, wallMs }
    })
    const least = runs.sort((a, b) => a.cpuMs - b.cpuMs)[0]!
    return `${least.cpuMs.toFixed(0)} ms of CPU (${Math.min(...runs.map(({ wallMs }) => wallMs)).toFixed(0)} ms of time)`
  }
  process.stdout.write(`load: ${measure('cold')} in a new process, ${measure('prepared')} with what an earlier start left\n\n`)
  rmSync(directory, { recursive: true, force: true })
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

/** `undefined` where Go is missing, or its modules cannot be had. */
function buildCoraza(directory: string): string | undefined {
  const program = join(directory, 'coraza')
  const { status } = spawnSync('go', ['build', '-o', program, '.'], { cwd: join(import.meta.dirname, 'coraza'), stdio: 'ignore' })
  return status === 0 ? program : undefined
}

/** The same rules for the others: CRS as it is installed, JSON bodies parsed as their recommended configurations have them. */
function peerRules(directory: string, { setup, files }: CrsInstallation): string {
  const file = join(directory, 'rules.conf')
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

interface Peer {
  readonly name: string
  readonly program: string
}

function peerMicroseconds({ name, program }: Peer, rules: string, { method, target, headers, body }: BenchRequest): number {
  const fields = headersOf(headers, Buffer.byteLength(body)).map(([field, value]) => `${field}\t${value}`)
  const { stdout, stderr } = spawnSync(program, [rules, '200'], {
    input: [method, target, ...fields, '', body].join('\n'),
    encoding: 'utf8',
    env: { ...process.env, GOMAXPROCS: '1' },
  })
  const micros = Number.parseFloat(stdout)
  if (Number.isNaN(micros)) throw new Error(`${name}: ${stderr}`)
  if (stdout.trim().endsWith('1')) throw new Error(`${name} refuses the request; the figure would be that of a refusal`)
  return micros
}

/** The least of five: time, not CPU, so that others on the machine weigh in. */
function p99Microseconds(run: () => void): number {
  const rounds = Array.from({ length: 5 }, () => {
    const times = Array.from({ length: 2_000 }, () => {
      const began = performance.now()
      run()
      return performance.now() - began
    })
    return (times.sort((a, b) => a - b)[1_980] as number) * 1_000
  })
  return Math.min(...rounds)
}

/** Of a thousand requests each: V8 compiles what is hot up to about the fifteenth, on threads whose CPU counts. */
const WARM_ROUNDS = 16
const ROUNDS = 15

const PEERS = [
  ['libmodsecurity', buildModsecurity],
  ['Coraza', buildCoraza],
] as const

function kinds(rules: RuleSet, crs: CrsInstallation | undefined): void {
  const directory = mkdtempSync(join(tmpdir(), 'ringwall-bench-waf-'))
  const peers: Peer[] = []
  const config = crs === undefined ? '' : peerRules(directory, crs)
  for (const [peer, build] of crs === undefined ? [] : PEERS) {
    const program = build(directory)
    if (program === undefined) {
      process.stdout.write(`${peer} could not be built here, and is left out\n`)
      continue
    }
    const { status, stderr } = spawnSync(program, [config, '1'], { input: 'GET\n/\nHost\ta\n\n', encoding: 'utf8' })
    if (status === 0) peers.push({ name: peer, program })
    else process.stdout.write(`${peer} does not load these rules, and is left out: ${stderr.trim().split('\n')[0]}\n`)
  }
  const beside = peers.map((peer) => `${peer.name.padStart(16)}${'times'.padStart(8)}`).join('')
  process.stdout.write(
    `${'request'.padEnd(28)}${'µs CPU'.padStart(10)}${'requests/s'.padStart(12)}${'p99, µs'.padStart(10)}${beside}\n`,
  )
  for (const request of BENCH_REQUESTS) {
    const { name, method, target, headers, body } = request
    const bytes = new TextEncoder().encode(body)
    if (judge(rules, method, target, headers, bytes)) throw new Error(`${name} is refused; the figure would be that of a refusal`)
    const perRound = 1_000
    const rounds = Array.from({ length: WARM_ROUNDS + ROUNDS }, () =>
      cpuMicroseconds(() => {
        for (let i = 0; i < perRound; i += 1) judge(rules, method, target, headers, bytes)
      }),
    )
    const measured = rounds.slice(WARM_ROUNDS).sort((a, b) => a - b)
    const micros = (measured[Math.floor(ROUNDS / 2)] as number) / perRound
    let line = `${name.padEnd(28)}${micros.toFixed(0).padStart(10)}${(1_000_000 / micros).toFixed(0).padStart(12)}`
    line += p99Microseconds(() => void judge(rules, method, target, headers, bytes))
      .toFixed(0)
      .padStart(10)
    for (const peer of peers) {
      const theirs = peerMicroseconds(peer, config, request)
      line += `${theirs.toFixed(0).padStart(16)}${(theirs / micros).toFixed(1).padStart(8)}`
    }
    process.stdout.write(`${line}\n`)
  }
  rmSync(directory, { recursive: true, force: true })
}

function crsNamed(name: string): CrsInstallation | undefined {
  try {
    return name === 'base' ? undefined : findCrs(name === 'crs' ? undefined : name)
  } catch {
    return undefined
  }
}

const named = process.argv.slice(2)
if (named[0] === LOAD) loadOnce(ruleSetNamed(named[1] as string), named[2] as string, named[3] === 'prepared')
else {
  const sets = (named.length > 0 ? named : USUAL_RULE_SETS).map((name) => ({ name, sources: ruleSetNamed(name) }))
  for (const { name, sources } of sets) {
    process.stdout.write(`\n── ${name}\n`)
    load(name)
    kinds(compileRules(sources, { paranoia: 1 }), crsNamed(name))
  }
}
