/**
 * `npm run differential:waf -- --requests 10000`: the same rules and the same requests through libmodsecurity3 (in nginx) and through our
 * engine; the ids of the rules that match are compared. Rules are the base rules without our own operators (`@detect...`) and
 * without what only one side has: variables (UNPARSED_BODY, UPLOADS, REQUEST_FILENAME_RAW; XML, which ModSecurity selects by XPath) and
 * `t:jwtDecode`. Requests are lines of the corpus, attacks and honest ones, some of them mutated, placed in every way. Differences are counted by cause.
 *
 * Needs Debian's nginx and libnginx-mod-http-modsecurity. Exits with 1 when a difference has no known cause.
 */

import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { compileRules } from '../packages/waf/src/index.ts'
import { type CorpusCase, loadCorpus } from '../packages/waf/src/test-corpus.ts'
import { baseRuleSources, type Sent } from '../packages/waf/src/test-requests.ts'
import { freePort } from '../tools/free-ports.ts'
import { readOptions, whole } from '../tools/options.ts'

const { requests: COUNT, show, seed } = readOptions({ requests: whole(10_000), show: whole(3, 0), seed: whole(88_172_645) })

let state = seed
/** xorshift32 (Marsaglia 2003). */
function random(below: number): number {
  state ^= state << 13
  state ^= state >>> 17
  state ^= state << 5
  return (state >>> 0) % below
}

/** Whole SecRules of a file, chains with their links, as text. */
function statements(text: string): string[] {
  const logical = text.replace(/\\\n\s*/g, '').split('\n')
  const found: string[] = []
  let chained = false
  for (const line of logical) {
    if (/^\s*(?:#|$)/.test(line)) continue
    if (chained) found[found.length - 1] += `\n${line}`
    else found.push(line)
    chained = /[,"]chain\s*"?\s*$|,chain,/.test(line)
  }
  return found
}

const shared = baseRuleSources()
  .flatMap(({ text }) => statements(text))
  // Ours: both sides decode the references that ModSecurity knows.
  .filter((rule) => !/@detect|^SecHtmlEntities/i.test(rule))
  .map((rule) => rule.replace(/\|(?:UNPARSED_BODY|UPLOADS|XML)\b|\b(?:UNPARSED_BODY|UPLOADS|XML)\|/g, ''))
  // Patterns that select names are written with quotes there.
  .filter((rule) => !/UNPARSED_BODY|UPLOADS|REQUEST_FILENAME_RAW|t:jwtDecode/.test(rule) && !/ARGS(?:_POST)?:\//.test(rule))
  .join('\n')

const ours = compileRules([{ file: 'shared.conf', text: `SecRuleEngine DetectionOnly\n${shared}` }], { paranoia: 1 })

/** Spoils a text a little, where parsers begin to differ. */
function mutated(text: string): string {
  const at = random(text.length + 1)
  const extra = [
    '%',
    '%0',
    '%u0041',
    '+',
    '&',
    ';',
    '=',
    '\t',
    '%00',
    '&#x41;',
    '\\u0041',
    '/**/',
    "'",
    '%25',
    '%c0%ae',
    '\u00e9',
    '..',
    '"',
  ][random(18)]!
  return text.slice(0, at) + extra + text.slice(at + random(2))
}

interface Case {
  readonly sent: Sent
  readonly text: string
}

function cases(): Case[] {
  const all: CorpusCase[] = [
    ...loadCorpus('attacks'),
    ...loadCorpus('benign'),
    ...loadCorpus('held-out/attacks'),
    ...loadCorpus('held-out/benign'),
  ]
  return Array.from({ length: COUNT }, () => {
    const { sent, text } = all[random(all.length)]!
    if (random(3) > 0) return { sent, text }
    if (typeof sent.body === 'string' && sent.body !== '') return { sent: { ...sent, body: mutated(sent.body) }, text }
    return { sent: sent.target === undefined ? sent : { ...sent, target: `/${mutated(sent.target.slice(1))}` }, text }
  })
}

const latin1 = (text: string): Buffer => Buffer.from(text, 'utf8')

/** What both sides get: nothing that a client would not send on the wire as it is. */
function wire(one: Case, n: number): { target: string; headers: [string, string][]; method: string; body: Buffer } {
  const body = latin1(typeof one.sent.body === 'string' ? one.sent.body : '')
  const target = encodeURI(one.sent.target ?? '/')
    .replace(/%25/g, '%')
    .replace(/[^\x21-\x7e]/g, (char) => `%${char.charCodeAt(0).toString(16).padStart(2, '0')}`)
    .replace(/#/g, '%23')
  const headers: [string, string][] = [
    ['Host', 'shop.example'],
    ['User-Agent', 'Mozilla/5.0'],
    ...((one.sent.headers ?? []) as [string, string][]).filter(([, value]) => !/[^\x20-\x7e]/.test(value)),
    ['X-Number', String(n)],
  ]
  return { target, headers, method: one.sent.method ?? (body.length > 0 ? 'POST' : 'GET'), body }
}

function nginxFiles(directory: string, port: number, upstream: number): string {
  const module = '/usr/lib/nginx/modules/ngx_http_modsecurity_module.so'
  if (!existsSync(module))
    throw new Error('nginx’s ModSecurity module is missing; on Debian: apt-get install nginx libnginx-mod-http-modsecurity')
  const ndk = existsSync('/usr/lib/nginx/modules/ndk_http_module.so')
    ? 'load_module /usr/lib/nginx/modules/ndk_http_module.so;\n'
    : ''
  const rules = join(directory, 'rules.conf')
  writeFileSync(
    rules,
    `SecRuleEngine DetectionOnly
SecRequestBodyAccess On
SecRequestBodyLimit 13107200
SecRequestBodyNoFilesLimit 13107200
SecPcreMatchLimit 500000
SecPcreMatchLimitRecursion 500000
SecArgumentSeparator &
SecAuditEngine Off
SecTmpDir ${directory}
SecDataDir ${directory}
SecRule REQUEST_HEADERS:Content-Type "@rx (?i)^application/(?:[\\w.-]+\\+)?json" "id:1,phase:1,pass,nolog,ctl:requestBodyProcessor=JSON"
SecRule REQUEST_HEADERS:Content-Type "@rx (?i)^(?:text|application)/(?:[\\w.-]+\\+)?xml" "id:2,phase:1,pass,nolog,ctl:requestBodyProcessor=XML"
SecRule REQUEST_HEADERS:X-Number "@rx ^(\\d+)$" "id:3,phase:1,pass,log,capture,msg:'number=%{TX.1}='"
${shared}
`,
  )
  const file = join(directory, 'nginx.conf')
  writeFileSync(
    file,
    `${ndk}load_module ${module};
worker_processes 1; daemon off; pid ${directory}/pid; error_log ${directory}/error.log info;
events { worker_connections 64; }
http {
  access_log off; keepalive_requests 10000000; client_body_temp_path ${directory}/b; proxy_temp_path ${directory}/p;
  fastcgi_temp_path ${directory}/f; uwsgi_temp_path ${directory}/u; scgi_temp_path ${directory}/s; large_client_header_buffers 8 64k; merge_slashes off;
  server { listen 127.0.0.1:${upstream}; location / { return 204; } }
  server { listen 127.0.0.1:${port}; modsecurity on; modsecurity_rules_file ${rules};
    location / { proxy_pass http://127.0.0.1:${upstream}; proxy_set_header Connection ""; proxy_http_version 1.1; } }
}
`,
  )
  return file
}

/** One request over a connection of its own; the status. */
function exchange(port: number, bytes: Buffer): Promise<number> {
  return new Promise((settle) => {
    const socket: Socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    let head = ''
    socket.on('data', (chunk) => {
      head += chunk.toString('latin1')
    })
    socket.on('error', () => settle(0))
    socket.on('close', () => settle(Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0)))
  })
}

/** Rules that look at the target. */
const READS_TARGET: ReadonlySet<number> = new Set(
  shared
    .split('\n')
    .filter((rule) => /^SecRule [^"]*REQUEST_(?:FILENAME|URI)/.test(rule))
    .map((rule) => Number(/id:(\d+)/.exec(rule)?.[1] ?? 0)),
)

const READS_BASENAME: ReadonlySet<number> = new Set(
  shared
    .split('\n')
    .filter((rule) => /^SecRule [^"]*REQUEST_BASENAME/.test(rule))
    .map((rule) => Number(/id:(\d+)/.exec(rule)?.[1] ?? 0)),
)

/** Rules whose pattern has an anchor. */
const ANCHORED: ReadonlySet<number> = new Set(
  shared
    .split('\n')
    .filter((rule) => /"!?@rx [^"]*[\^$]/.test(rule))
    .map((rule) => Number(/id:(\d+)/.exec(rule)?.[1] ?? 0)),
)

/** Rules that read the path without its dots. */
const READS_PATH: ReadonlySet<number> = new Set(
  shared
    .split('\n')
    .filter((rule) => rule.includes('t:normalizePath'))
    .map((rule) => Number(/id:(\d+)/.exec(rule)?.[1] ?? 0)),
)

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function unescaped(text: string): string {
  return text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}

/** Known differences: the cause of a difference in one rule, or nothing. */
function cause(id: number, oursHas: boolean, { target, body, headers }: ReturnType<typeof wire>): string | undefined {
  const type = headers.find(([name]) => name === 'Content-Type')?.[1] ?? ''
  const text = body.toString('latin1')
  if (!oursHas && ANCHORED.has(id) && /\\[rn]|[\r\n]/.test(unescaped(unescaped(target + text))))
    return 'lines: ^ and $ match at every line there, at the ends of a value here'
  if (READS_TARGET.has(id) && target.includes('%')) return 'REQUEST_FILENAME and REQUEST_URI: unescaped there, as sent here'
  if (READS_BASENAME.has(id) && /^[^?]*%3f/i.test(target)) return 'REQUEST_BASENAME: ends at an escaped question mark there'
  if (/^\s*[{[]/.test(text) && !type.includes('json') && oursHas) return 'JSON under another type: read as JSON here only'
  if (type.includes('json') && /\\u0*[0-9a-f]*|\\[bfnrt/]/i.test(text)) return 'escapes in JSON'
  if (type.includes('json') && !oursHas && !isJson(text))
    return 'malformed JSON: what could be read is in ARGS there, all of it in UNPARSED_BODY here, which is none of their variables'
  if (READS_PATH.has(id) && /\w\.{1,2}(?:[/?]|$)/.test(target)) return 'normalizePath: a name that ends in dots is cut there'
  if (id === 110006 && oursHas) return 'a body that its type does not fit: more is refused here'
  if (id === 110013) return 'multipart that readers differ on'
  if (type.includes('multipart')) return 'multipart: parts that readers take apart differently'
  if (/%(?![0-9a-f]{2})/i.test(target + text)) return 'malformed percent-escapes'
  if (/%00|\0/.test(target + text)) return 'NUL bytes'
  if (/;/.test(target)) return 'semicolons in the target'
  return undefined
}

async function main(): Promise<void> {
  if (spawnSync('sh', ['-c', 'command -v nginx']).status !== 0)
    throw new Error('nginx is missing; on Debian: apt-get install nginx')
  const directory = mkdtempSync(join(tmpdir(), 'ringwall-differential-'))
  const port = await freePort()
  const child = spawn('nginx', ['-c', nginxFiles(directory, port, await freePort())], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', (chunk) => {
    said += String(chunk)
  })
  try {
    for (
      let attempt = 0;
      (await exchange(port, Buffer.from('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'))) === 0;
      attempt += 1
    ) {
      if (attempt === 100 || child.exitCode !== null) throw new Error(`nginx does not answer: ${said}`)
      await new Promise((wake) => setTimeout(wake, 50))
    }
    const sent = cases().map(wire)
    const skipped = new Set<number>()
    for (const [n, { method, target, headers, body }] of sent.entries()) {
      const fields = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')
      const status = await exchange(
        port,
        Buffer.concat([
          Buffer.from(
            `${method} ${target} HTTP/1.1\r\n${fields}${body.length > 0 ? `Content-Length: ${body.length}\r\n` : ''}Connection: close\r\n\r\n`,
            'latin1',
          ),
          body,
        ]),
      )
      if (status !== 204) skipped.add(n)
    }
    const theirs = readMatches(readFileSync(join(directory, 'error.log'), 'latin1'))
    report(sent, theirs, skipped)
  } finally {
    child.kill('SIGTERM')
    await new Promise((done) => (child.exitCode === null ? child.once('exit', done) : done(undefined)))
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Ids by number of request: a rule logs the number first, under the connection that all lines of the request carry. */
function readMatches(log: string): Map<number, Set<number>> {
  const matches = new Map<number, Set<number>>()
  const numbers = new Map<string, number>()
  for (const line of log.split('\n')) {
    const found = /\*(\d+) .*?\[id "(\d+)"\]/.exec(line)
    if (found === null) continue
    const number = /number=(\d+)=/.exec(line)?.[1]
    if (number !== undefined) numbers.set(found[1]!, Number(number))
    const n = numbers.get(found[1]!)
    if (n === undefined || found[2] === '3') continue
    const set = matches.get(n) ?? new Set()
    matches.set(n, set.add(Number(found[2])))
  }
  return matches
}

function report(
  sent: ReturnType<typeof wire>[],
  theirs: ReadonlyMap<number, ReadonlySet<number>>,
  skipped: ReadonlySet<number>,
): void {
  const causes = new Map<string, { count: number; examples: string[] }>()
  let same = 0
  let matched = 0
  let differing = 0
  for (const [n, one] of sent.entries()) {
    if (skipped.has(n)) continue
    const their = theirs.get(n) ?? new Set<number>()
    const transaction = ours.begin()
    transaction.requestHead({
      method: one.method,
      target: one.target,
      httpVersion: '1.1',
      headers: one.headers,
      remoteAddress: '127.0.0.1',
    })
    const verdict = transaction.requestBody(one.body, false)
    const our = new Set(verdict.matches.map(({ ruleId }) => ruleId))
    if (our.size > 0) matched += 1
    const differences: (readonly [id: number, here: boolean])[] = []
    for (const id of our) if (!their.has(id)) differences.push([id, true])
    for (const id of their) if (!our.has(id)) differences.push([id, false])
    if (differences.length === 0) {
      same += 1
      continue
    }
    differing += 1
    for (const [id, oursHas] of differences) {
      const why = cause(id, oursHas, one) ?? `unexplained: rule ${id}, ${oursHas ? 'matches here only' : 'matches there only'}`
      const entry = causes.get(why) ?? { count: 0, examples: [] }
      entry.count += 1
      if (entry.examples.length < show)
        entry.examples.push(
          `${id} ${oursHas ? 'here' : 'there'}: ${one.method} ${one.target.slice(0, 160)} ${one.body.toString('latin1').slice(0, 160)}`,
        )
      causes.set(why, entry)
    }
  }
  process.stdout.write(
    `${sent.length} requests, ${skipped.size} refused by nginx before any rule; ${matched} with a match here\n`,
  )
  process.stdout.write(`same rule ids: ${same}; different: ${differing}\n\n`)
  for (const [why, { count, examples }] of [...causes].sort((a, b) => b[1].count - a[1].count)) {
    process.stdout.write(`${String(count).padStart(7)}  ${why}\n`)
    for (const example of examples) process.stdout.write(`             ${JSON.stringify(example)}\n`)
    if (why.startsWith('unexplained')) process.exitCode = 1
  }
}

await main().catch((error: Error) => {
  process.stderr.write(`differential: ${error.message}\n`)
  process.exitCode = 1
})
