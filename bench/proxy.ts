/**
 * `npm run bench:proxy`: one core of each proxy in front of one upstream, beside nginx, HAProxy, Caddy and nginx + ModSecurity +
 * CRS from Debian, in one run. The proxy under test has a core to itself; the load and the upstream (nginx, 1 KB)
 * share the other. Rounds are interleaved, so that a noisy machine disturbs all alike; medians count, ratios are what to quote.
 * CPU time a request (all threads and processes of the proxy, user and system) is told beside the rate: it hardly heeds what
 * else runs on the machine, and its inverse is what a core of its own could carry.
 *
 * Four parts: requests a second as fast as they go (wrk); time to the answer at one offered load, the same for all
 * (h2load --h1 --rps, open loop); memory with 10,000 idle connections held, each after one request; and one worker beside two,
 * both cores free to either, 32 connections each. The load and the upstream need one of the two cores then, so that requests a second say
 * little: what counts is CPU time a request. Two cores carry `2 x (CPU of one worker's request) / (CPU of two workers')` times what one does,
 * as long as nothing but CPU is short.
 *
 * The rows with TLS have one certificate (ECDSA, P-256) and cipher (TLS 1.3, AES-128-GCM) for all, on kept connections.
 *
 * What is not installed is left out and named. Environment: ROUNDS, SECONDS, CONNECTIONS, and to run less of it
 * CONTENDERS, REQUESTS (regular expressions on their names) and PARTS (`rate,latency,memory,workers`).
 *
 * Needs Linux with two cores and Debian's nginx, wrk and nghttp2-client; takes haproxy, caddy,
 * libnginx-mod-http-modsecurity and modsecurity-crs when they are there.
 */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { generateKeyPairSync, sign } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { parseContext, RingwallClient } from '@ringwall/client'
import { freePort } from '../tools/free-ports.ts'
import { quantile } from '../tools/quantile.ts'
import { BENCH_REQUESTS, type BenchRequest } from './requests.ts'

const PROXY_CORE = '0'
const LOAD_CORE = '1'
const CONNECTIONS = Number(process.env.CONNECTIONS ?? 32)
const ROUNDS = Number(process.env.ROUNDS ?? 5)
const SECONDS = Number(process.env.SECONDS ?? 4)
const CONTENDERS = new RegExp(process.env.CONTENDERS ?? '')
const REQUESTS = new RegExp(process.env.REQUESTS ?? '')
const PARTS = (process.env.PARTS ?? 'rate,latency,memory,workers').split(',')
/** Requests a second that everything but the WAFs can carry on one core, on a machine that does other things besides. */
const OFFERED = Number(process.env.OFFERED ?? 1_000)
const IDLE_CONNECTIONS = 10_000
const DENIALS = 200
const MODULE = '/usr/lib/nginx/modules/ngx_http_modsecurity_module.so'
const CRS = '/usr/share/modsecurity-crs'

interface Contender {
  readonly name: string
  readonly port: number
  /** Header fields that its requests carry besides. */
  readonly more: readonly (readonly [name: string, value: string])[]
  readonly pid: () => number
  /** Figures of peers only. */
  readonly waf: boolean
  readonly tls: boolean
  /** Threads that take traffic, in the part about these. */
  readonly workers?: number
}

const children: ChildProcess[] = []

function installed(program: string): string | undefined {
  const found = spawnSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).stdout.trim()
  return found === '' ? undefined : found
}

function need(program: string, packageName: string): string {
  const found = installed(program)
  if (found === undefined) throw new Error(`${program} is missing; on Debian: apt-get install ${packageName}`)
  return found
}

function start(core: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): () => number {
  const child = spawn('taskset', ['-c', core, command, ...args], {
    stdio: ['ignore', 'ignore', process.env.DEBUG === undefined ? 'ignore' : 'inherit'],
    env: { ...process.env, ...env },
  })
  children.push(child)
  return () => child.pid as number
}

function nginxConfig(directory: string, name: string, upstreamPort: number, server: string, extra = ''): string {
  const file = join(directory, `${name}.conf`)
  writeFileSync(
    file,
    `${extra}
worker_processes 1; daemon off; pid ${directory}/${name}.pid; error_log ${directory}/${name}.err; worker_rlimit_nofile 16384;
events { worker_connections 16000; }
http {
  access_log off; keepalive_requests 1000000; client_body_temp_path ${directory}/${name}-body; proxy_temp_path ${directory}/${name}-proxy;
  fastcgi_temp_path ${directory}/${name}-f; uwsgi_temp_path ${directory}/${name}-u; scgi_temp_path ${directory}/${name}-s;
  upstream app { server 127.0.0.1:${upstreamPort}; keepalive 64; keepalive_requests 1000000; }
  ${server}
}
`,
  )
  return file
}

function nginxProxy(port: number, extra = ''): string {
  return `server { listen 127.0.0.1:${port}; ${extra} location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; } }`
}

function modsecurityRules(directory: string): string {
  const file = join(directory, 'modsecurity-rules.conf')
  const setup = ['/etc/modsecurity/crs/crs-setup.conf', `${CRS}/crs-setup.conf.example`].find(existsSync)
  if (setup === undefined) throw new Error('no Core Rule Set found; on Debian: apt-get install modsecurity-crs')
  const mapping = ['/etc/nginx/unicode.mapping', '/etc/modsecurity/unicode.mapping', `${CRS}/util/unicode.mapping`].find(
    existsSync,
  )
  writeFileSync(
    file,
    `SecRuleEngine On
SecRequestBodyAccess On
SecRequestBodyLimit 13107200
SecRule REQUEST_HEADERS:Content-Type "^application/json" "id:1,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecAuditEngine Off
SecTmpDir ${directory}
SecDataDir ${directory}
${mapping === undefined ? '' : `SecUnicodeMapFile ${mapping} 20127`}
Include ${setup}
Include ${CRS}/rules/*.conf
`,
  )
  return file
}

function haproxyConfig(directory: string, port: number, upstreamPort: number): string {
  const file = join(directory, 'haproxy.cfg')
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 9900
defaults
  mode http
  timeout connect 5s
  timeout client 90s
  timeout http-keep-alive 90s
  timeout server 90s
  option http-keep-alive
  http-reuse always
frontend in
  bind 127.0.0.1:${port}
  default_backend app
backend app
  server app 127.0.0.1:${upstreamPort} pool-max-conn 64
`,
  )
  return file
}

function caddyConfig(directory: string, port: number, upstreamPort: number): string {
  const file = join(directory, 'Caddyfile')
  writeFileSync(
    file,
    `{
  admin off
  auto_https off
  storage file_system ${directory}/caddy
}
http://127.0.0.1:${port} {
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:${upstreamPort} {
    transport http {
      keepalive_idle_conns_per_host 64
    }
  }
}
`,
  )
  return file
}

/** An issuer of tokens and one of its tokens, good for a day. */
function tokenIssuer(): { readonly policy: object; readonly token: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const nowS = Math.floor(Date.now() / 1_000)
  const claims = { iss: 'https://issuer.test', aud: 'bench', sub: 'load', jti: 'one', iat: nowS, exp: nowS + 86_400 }
  const signed = `${encode({ alg: 'EdDSA', kid: 'k' })}.${encode(claims)}`
  const token = `${signed}.${sign(null, Buffer.from(signed), privateKey).toString('base64url')}`
  const keys = [{ ...publicKey.export({ format: 'jwk' }), kid: 'k', alg: 'EdDSA' }]
  return { policy: { issuer: 'https://issuer.test', audience: 'bench', algorithms: ['EdDSA'], jwks: { keys } }, token }
}

/** Self-signed. */
function certificate(directory: string): { readonly certificate: string; readonly key: string } {
  const files = { certificate: join(directory, 'bench.pem'), key: join(directory, 'bench.key') }
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']
  const made = spawnSync('openssl', [
    'req',
    '-x509',
    ...kind,
    '-keyout',
    files.key,
    '-out',
    files.certificate,
    '-days',
    '2',
    '-subj',
    '/CN=bench',
  ])
  if (made.status !== 0) throw new Error(`openssl made no certificate: ${made.stderr}`)
  chmodSync(files.key, 0o600)
  return files
}

async function denyMany(data: string): Promise<void> {
  const context = parseContext(readFileSync(join(data, 'operator.json'), 'utf8'))
  const client = new RingwallClient({ baseUrl: context.nodes[0]!.url, operator: context })
  for (let at = 0; at < DENIALS; at++) {
    const value = at % 4 === 0 ? `198.18.${at}.0/24` : `198.19.${at}.7`
    await client.denyAdd({ kind: at % 4 === 0 ? 'cidr' : 'ip', value }, 3_600_000, 'benchmark')
  }
}

/** One request on a connection that stays. @throws When nothing listens. */
/** @param localAddress Of the client. */
function openOne({ port, tls, more }: Pick<Contender, 'port' | 'tls' | 'more'>, localAddress = '127.0.0.1'): Promise<Socket> {
  const fields = more.map(([name, value]) => `${name}: ${value}\r\n`).join('')
  return new Promise((settle, refuse) => {
    const place = { port, host: '127.0.0.1', localAddress }
    const socket = tls ? connectTls({ ...place, rejectUnauthorized: false }) : connect(place)
    socket.on('error', refuse)
    socket.once('data', () => settle(socket))
    socket.write(`GET / HTTP/1.1\r\nHost: a\r\n${fields}\r\n`)
  })
}

async function waitFor(contender: Contender): Promise<void> {
  const { port } = contender
  for (let attempt = 0; attempt < 300; attempt += 1) {
    try {
      ;(await openOne(contender)).destroy()
      return
    } catch {
      await new Promise((wake) => setTimeout(wake, 100))
    }
  }
  throw new Error(`nothing answers on 127.0.0.1:${port}; with DEBUG=1 its own words are shown`)
}

/** A wrk script that sends one request. */
function wrkScript({ method, target, headers, body }: BenchRequest, more: Contender['more']): string {
  const lines = [`wrk.method = "${method}"`, `wrk.path = ${JSON.stringify(target)}`]
  for (const [name, value] of [...headers, ...more]) lines.push(`wrk.headers["${name}"] = ${JSON.stringify(value)}`)
  if (body !== '') lines.push(`wrk.body = ${JSON.stringify(body)}`)
  return `${lines.join('\n')}\n`
}

interface Round {
  /** Requests a second. */
  readonly rate: number
  /** Of the proxy's CPU time, a request. */
  readonly cpuUs: number
}

/** One round; fails when answers were not 2xx, since refusals are cheaper than answers. */
function load(wrk: string, script: string, { port, pid, tls, workers = 1 }: Contender): Round {
  const beforeUs = cpuUs(pid())
  const { stdout } = spawnSync(
    'taskset',
    [
      '-c',
      LOAD_CORE,
      wrk,
      '-t1',
      `-c${CONNECTIONS * workers}`,
      `-d${SECONDS}s`,
      '-s',
      script,
      `${tls ? 'https' : 'http'}://127.0.0.1:${port}/`,
    ],
    { encoding: 'utf8' },
  )
  if (/Non-2xx/.test(stdout)) throw new Error(`port ${port} refused the benign load:\n${stdout}`)
  const found = /Requests\/sec:\s+([0-9.]+)/.exec(stdout)?.[1]
  const requests = /([0-9]+) requests in/.exec(stdout)?.[1]
  if (found === undefined || requests === undefined) throw new Error(`wrk printed no figure for port ${port}:\n${stdout}`)
  return { rate: Number(found), cpuUs: (cpuUs(pid()) - beforeUs) / Number(requests) }
}

/** User and system time of a process and its children, microseconds; the kernel counts in ticks of 10 ms. */
function cpuUs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10_000 + childrenOf(pid).reduce((sum, child) => sum + cpuUs(child), 0)
}

function childrenOf(pid: number): number[] {
  return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
    readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').trim().split(' ').filter(Boolean).map(Number),
  )
}

/** Microseconds of each answer at the offered load. */
function timed(h2load: string, log: string, { port, more }: Contender): number[] {
  rmSync(log, { force: true })
  const fields = more.flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const args = [
    '--h1',
    '-t1',
    `-c${CONNECTIONS}`,
    `--rps=${Math.round(OFFERED / CONNECTIONS)}`,
    `-D${SECONDS}`,
    `--log-file=${log}`,
  ]
  spawnSync('taskset', ['-c', LOAD_CORE, h2load, ...args, ...fields, `http://127.0.0.1:${port}/`], { encoding: 'utf8' })
  const times: number[] = []
  for (const line of readFileSync(log, 'utf8').split('\n')) {
    const [, status, us] = line.split('\t')
    if (us === undefined) continue
    if (status !== '200') throw new Error(`port ${port} answered ${status} to the offered load`)
    times.push(Number(us))
  }
  return times
}

/** Resident kilobytes of a process and its children. */
function residentKb(pid: number): number {
  const own = /VmRSS:\s+([0-9]+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0'
  return Number(own) + childrenOf(pid).reduce((sum, child) => sum + residentKb(child), 0)
}

async function openIdle(contender: Contender): Promise<Socket[]> {
  const sockets: Socket[] = []
  // From several addresses: one source may have 4,096 connections and no more.
  for (let at = 0; at < IDLE_CONNECTIONS; at += 100) {
    const source = `127.0.0.${2 + ((at / 100) % 8)}`
    sockets.push(...(await Promise.all(Array.from({ length: 100 }, () => openOne(contender, source)))))
  }
  return sockets
}

const median = (values: readonly number[]): number => quantile(values, 0.5)

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`)
}

function rates(contenders: readonly Contender[], wrk: string, directory: string): void {
  for (const request of BENCH_REQUESTS.filter(({ name }) => REQUESTS.test(name))) {
    const found = new Map<Contender, Round[]>(contenders.map((contender) => [contender, []]))
    for (let round = -1; round < ROUNDS; round += 1) {
      for (const [at, contender] of contenders.entries()) {
        progress(`${request.name}: round ${round + 1}/${ROUNDS} ${contender.name}`)
        const file = join(directory, `load-${at}.lua`)
        writeFileSync(file, wrkScript(request, contender.more))
        const measured = load(wrk, file, contender)
        // The first round warms caches and compilers up, theirs and ours.
        if (round >= 0) found.get(contender)!.push(measured)
      }
    }
    progress('')
    const figures = contenders.map((contender) => {
      const rounds = found.get(contender)!
      const all = rounds.map(({ rate }) => rate)
      const rate = median(all)
      const spread = `${(((Math.max(...all) - Math.min(...all)) / rate) * 100).toFixed(0)} %`
      return { name: contender.name, rate, spread, cpuUs: median(rounds.map((each) => each.cpuUs)) }
    })
    const nginx = figures.find(({ name }) => name === 'nginx')
    say(`\n${request.name} (median of ${ROUNDS} rounds of ${SECONDS} s, ${CONNECTIONS} connections, one core)`)
    const heads = ['requests/s', 'spread', 'of nginx', 'CPU us', 'nginx’s / its']
    say(`  ${'proxy'.padEnd(32)}${heads.map((head) => head.padStart(14)).join('')}`)
    for (const { name, rate, spread, cpuUs: us } of figures) {
      const ratios = nginx === undefined ? ['', ''] : [(rate / nginx.rate).toFixed(2), (nginx.cpuUs / us).toFixed(2)]
      const cells = [rate.toFixed(0), spread, ratios[0]!, us.toFixed(1), ratios[1]!]
      say(`  ${name.padEnd(32)}${cells.map((cell) => cell.padStart(14)).join('')}`)
    }
  }
}

function latencies(contenders: readonly Contender[], h2load: string, directory: string): void {
  const carrying = contenders.filter(({ waf, tls }) => !waf && !tls)
  const found = new Map<Contender, number[][]>(carrying.map((contender) => [contender, []]))
  for (let round = -1; round < ROUNDS; round += 1) {
    for (const contender of carrying) {
      progress(`at ${OFFERED}/s: round ${round + 1}/${ROUNDS} ${contender.name}`)
      const times = timed(h2load, join(directory, 'times.tsv'), contender)
      if (round >= 0) found.get(contender)!.push(times)
    }
  }
  progress('')
  say(`\nK1 at ${OFFERED} requests/s offered to each (median of ${ROUNDS} rounds of ${SECONDS} s, ${CONNECTIONS} connections)`)
  say(`  ${'proxy'.padEnd(32)}${'answered/s'.padStart(12)}${'p50'.padStart(12)}${'p99'.padStart(12)}${'p99.9'.padStart(12)}`)
  for (const [{ name }, rounds] of found) {
    const at = (q: number): string => `${(median(rounds.map((times) => quantile(times, q))) / 1_000).toFixed(2)} ms`.padStart(12)
    const answered = (median(rounds.map((times) => times.length)) / SECONDS).toFixed(0)
    say(`  ${name.padEnd(32)}${answered.padStart(12)}${at(0.5)}${at(0.99)}${at(0.999)}`)
  }
}

function workers(contenders: readonly Contender[], wrk: string, directory: string): void {
  const file = join(directory, 'workers.lua')
  writeFileSync(file, wrkScript(BENCH_REQUESTS[0]!, []))
  const found = new Map<Contender, Round[]>(contenders.map((contender) => [contender, []]))
  // Every thread compiles for itself: twice the rounds to warm up.
  for (let round = -2; round < ROUNDS; round += 1) {
    for (const contender of contenders) {
      progress(`workers: round ${round + 1}/${ROUNDS} ${contender.name}`)
      const measured = load(wrk, file, contender)
      if (round >= 0) found.get(contender)!.push(measured)
    }
  }
  progress('')
  say(
    `\nK1 with one worker and with two, both cores free to either (median of ${ROUNDS} rounds of ${SECONDS} s, 32 connections a worker)`,
  )
  say(`  ${'proxy'.padEnd(32)}${['requests/s', 'CPU us', 'carries'].map((head) => head.padStart(14)).join('')}`)
  const cpuOf = (contender: Contender): number => median(found.get(contender)!.map((each) => each.cpuUs))
  for (const contender of contenders) {
    const rate = median(found.get(contender)!.map((each) => each.rate))
    const carries = ((contender.workers ?? 1) * cpuOf(contenders[0]!)) / cpuOf(contender)
    const cells = [rate.toFixed(0), cpuOf(contender).toFixed(1), `${carries.toFixed(2)} x`]
    say(`  ${contender.name.padEnd(32)}${cells.map((cell) => cell.padStart(14)).join('')}`)
  }
}

async function memory(contenders: readonly Contender[]): Promise<void> {
  say(`\nResident memory with ${IDLE_CONNECTIONS} idle connections, each after one request`)
  say(`  ${'proxy'.padEnd(32)}${'before'.padStart(12)}${'with them'.padStart(12)}${'a connection'.padStart(14)}`)
  for (const contender of contenders) {
    const { name, pid } = contender
    progress(`memory: ${name}`)
    const before = residentKb(pid())
    const sockets = await openIdle(contender)
    await new Promise((wake) => setTimeout(wake, 2_000))
    const open = sockets.filter((socket) => socket.readyState === 'open').length
    const held = residentKb(pid())
    for (const socket of sockets) socket.destroy()
    await new Promise((wake) => setTimeout(wake, 1_000))
    progress('')
    const each = open < IDLE_CONNECTIONS ? `only ${open} held` : `${((held - before) / IDLE_CONNECTIONS).toFixed(1)} KB`
    const mb = (kb: number): string => `${(kb / 1_024).toFixed(0)} MB`.padStart(12)
    say(`  ${name.padEnd(32)}${mb(before)}${mb(held)}${each.padStart(14)}`)
  }
}

async function main(): Promise<void> {
  const nginx = need('nginx', 'nginx')
  const wrk = need('wrk', 'wrk')
  const directory = mkdtempSync(join(tmpdir(), 'ringwall-bench-'))
  try {
    const upstreamPort = await freePort()
    const answer = `server { listen 127.0.0.1:${upstreamPort}; location / { default_type text/plain; return 200 '${'x'.repeat(1_024)}'; } }`
    start(LOAD_CORE, nginx, ['-c', nginxConfig(directory, 'upstream', upstreamPort, answer)])
    const contenders: Contender[] = []
    const add = async (
      name: string,
      begin: (port: number) => () => number,
      {
        waf = false,
        tls = false,
        more = [],
      }: { readonly waf?: boolean; readonly tls?: boolean; readonly more?: Contender['more'] } = {},
    ): Promise<void> => {
      if (!CONTENDERS.test(name)) return
      const port = await freePort()
      contenders.push({ name, port, more, pid: begin(port), waf, tls })
    }

    const pair = installed('openssl') === undefined ? undefined : certificate(directory)
    if (pair === undefined) say('openssl is not installed: rows with TLS left out')
    await add('nginx', (port) =>
      start(PROXY_CORE, nginx, ['-c', nginxConfig(directory, 'plain', upstreamPort, nginxProxy(port))]),
    )
    if (pair !== undefined) {
      const settings = `ssl_certificate ${pair.certificate}; ssl_certificate_key ${pair.key}; ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256; keepalive_timeout 90s;`
      await add(
        'nginx, TLS',
        (port) => {
          const server = nginxProxy(port, settings).replace(`127.0.0.1:${port}`, `127.0.0.1:${port} ssl`)
          return start(PROXY_CORE, nginx, ['-c', nginxConfig(directory, 'tls', upstreamPort, server)])
        },
        { tls: true },
      )
    }
    const haproxy = installed('haproxy')
    if (haproxy === undefined) say('haproxy is not installed: left out')
    else await add('HAProxy', (port) => start(PROXY_CORE, haproxy, ['-db', '-f', haproxyConfig(directory, port, upstreamPort)]))
    const caddy = installed('caddy')
    if (caddy === undefined) say('caddy is not installed: left out')
    else {
      const env = { GOMAXPROCS: '1', HOME: directory, XDG_CONFIG_HOME: directory, XDG_DATA_HOME: directory }
      await add('Caddy', (port) =>
        start(PROXY_CORE, caddy, ['run', '--adapter', 'caddyfile', '--config', caddyConfig(directory, port, upstreamPort)], env),
      )
    }
    if (!existsSync(MODULE)) say('libnginx-mod-http-modsecurity is not installed: left out')
    else {
      const ndk = existsSync('/usr/lib/nginx/modules/ndk_http_module.so')
        ? 'load_module /usr/lib/nginx/modules/ndk_http_module.so;\n'
        : ''
      await add(
        'nginx + ModSecurity + CRS',
        (port) => {
          const server = nginxProxy(port, `modsecurity on; modsecurity_rules_file ${modsecurityRules(directory)};`)
          const file = nginxConfig(directory, 'modsecurity', upstreamPort, server, `${ndk}load_module ${MODULE};`)
          return start(PROXY_CORE, nginx, ['-c', file])
        },
        { waf: true },
      )
    }

    const cli = resolve(import.meta.dirname, '../packages/cli/src/main.ts')
    const dataOf = (port: number): string => join(directory, `data-${port}`)
    const profiling = process.env.CPU_PROF === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${process.env.CPU_PROF}`]
    const protect = (port: number, more: readonly string[], cores = PROXY_CORE): (() => number) =>
      start(cores, process.execPath, [
        '--disable-warning=ExperimentalWarning',
        ...profiling,
        cli,
        'protect',
        `http://127.0.0.1:${upstreamPort}`,
        '--listen',
        `127.0.0.1:${port}`,
        '--data',
        dataOf(port),
        ...more,
      ])
    const policyFile = (name: string, service: object, rest: object = {}): string => {
      const file = join(directory, `${name}.yaml`)
      const app = { upstreams: [{ url: `http://127.0.0.1:${upstreamPort}` }], waf: { mode: 'off' }, ...service }
      // JSON is YAML.
      writeFileSync(file, JSON.stringify({ version: 1, services: { app }, ...rest }))
      return file
    }
    await add('ringwall, plain', (port) => protect(port, ['--config', policyFile('plain', {})]))
    if (pair !== undefined) {
      const files = ['--tls-cert', pair.certificate, '--tls-key', pair.key]
      await add('ringwall, plain, TLS', (port) => protect(port, [...files, '--config', policyFile('tls', {})]), { tls: true })
    }
    const issuer = tokenIssuer()
    const guarded = policyFile(
      'guarded',
      { limits: [{ name: 'source', rate: '1000000/s' }], identity: { required: true } },
      { issuers: [issuer.policy] },
    )
    await add('ringwall, guard on, WAF off', (port) => protect(port, ['--config', guarded]), {
      more: [['Authorization', `Bearer ${issuer.token}`]],
    })
    await add('ringwall, base rules', (port) => protect(port, ['--rules', 'base']), { waf: true })
    if (existsSync(CRS)) await add('ringwall, CRS', (port) => protect(port, ['--rules', 'crs']), { waf: true })
    mkdirSync(directory, { recursive: true })
    for (const contender of contenders) await waitFor(contender)
    const sharing: Contender[] = []
    for (const count of PARTS.includes('workers') ? [1, 2] : []) {
      const port = await freePort()
      const args = ['--workers', String(count), '--config', policyFile(`workers-${count}`, {})]
      const pid = protect(port, args, `${PROXY_CORE},${LOAD_CORE}`)
      const name = `ringwall, plain, ${count} worker${count === 1 ? '' : 's'}`
      sharing.push({ name, port, more: [], pid, waf: false, tls: false, workers: count })
    }
    for (const contender of sharing) await waitFor(contender)
    const denying = contenders.find(({ name }) => name === 'ringwall, guard on, WAF off')
    if (denying !== undefined) await denyMany(dataOf(denying.port))

    if (PARTS.includes('rate')) rates(contenders, wrk, directory)
    if (PARTS.includes('latency')) {
      const h2load = installed('h2load')
      if (h2load === undefined) say('h2load is not installed (nghttp2-client): latencies left out')
      else latencies(contenders, h2load, directory)
    }
    if (PARTS.includes('memory')) await memory(contenders)
    if (sharing.length > 0) workers(sharing, wrk, directory)
  } finally {
    for (const child of children) child.kill('SIGTERM')
    await Promise.all(
      children.map((child) => (child.exitCode === null ? new Promise((settle) => child.once('exit', settle)) : undefined)),
    )
    rmSync(directory, { recursive: true, force: true })
  }
}

await main().catch((error: Error) => {
  process.stderr.write(`bench: ${error.message}\n`)
  process.exitCode = 1
})
