/**
 * `npm run bench:proxy`: requests a second of one core, beside nginx and nginx + ModSecurity + CRS from Debian, in one
 * run. The proxy under test has one core to itself; the load (wrk) and the upstream (nginx, 1 KB) share the other.
 * Rounds are interleaved, so that a noisy machine disturbs all alike; the median is what counts, ratios are what to quote.
 *
 * Needs Linux with two cores and Debian's nginx, libnginx-mod-http-modsecurity, modsecurity-crs and wrk.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { BENCH_REQUESTS, type BenchRequest } from './requests.ts'

const PROXY_CORE = '0'
const LOAD_CORE = '1'
const PORTS = {
  upstream: 18_090,
  nginx: 18_091,
  modsecurity: 18_092,
  ringwall: 18_093,
  ringwallOff: 18_094,
  ringwallCrs: 18_095,
} as const
const CONNECTIONS = 32
const ROUNDS = Number(process.env.ROUNDS ?? 5)
const SECONDS = Number(process.env.SECONDS ?? 4)

interface Contender {
  readonly name: string
  readonly port: number
}

const CONTENDERS: readonly Contender[] = [
  { name: 'nginx', port: PORTS.nginx },
  { name: 'nginx + ModSecurity + CRS', port: PORTS.modsecurity },
  { name: 'ringwall protect, WAF off', port: PORTS.ringwallOff },
  { name: 'ringwall protect, base rules', port: PORTS.ringwall },
  { name: 'ringwall protect, CRS', port: PORTS.ringwallCrs },
]

/** A wrk script that sends one request. */
function wrkScript({ method, target, headers, body }: BenchRequest): string {
  const lines = [`wrk.method = "${method}"`, `wrk.path = ${JSON.stringify(target)}`]
  for (const [name, value] of headers) lines.push(`wrk.headers["${name}"] = ${JSON.stringify(value)}`)
  if (body !== '') lines.push(`wrk.body = ${JSON.stringify(body)}`)
  return lines.join('\n')
}

const children: ChildProcess[] = []

function need(program: string, packageName: string): string {
  const found = spawnSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).stdout.trim()
  if (found === '') throw new Error(`${program} is missing; on Debian: apt-get install ${packageName}`)
  return found
}

function nginxConfig(directory: string, name: string, server: string, extra = ''): string {
  const file = join(directory, `${name}.conf`)
  writeFileSync(
    file,
    `${extra}
worker_processes 1; daemon off; pid ${directory}/${name}.pid; error_log ${directory}/${name}.err;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000; client_body_temp_path ${directory}/${name}-body; proxy_temp_path ${directory}/${name}-proxy;
  fastcgi_temp_path ${directory}/${name}-f; uwsgi_temp_path ${directory}/${name}-u; scgi_temp_path ${directory}/${name}-s;
  upstream app { server 127.0.0.1:${PORTS.upstream}; keepalive 64; keepalive_requests 1000000; }
  ${server}
}
`,
  )
  return file
}

function proxyServer(port: number, extra = ''): string {
  return `server { listen 127.0.0.1:${port}; ${extra} location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; } }`
}

function modsecurityRules(directory: string): string {
  const file = join(directory, 'modsecurity-rules.conf')
  const crs = '/usr/share/modsecurity-crs'
  const setup = ['/etc/modsecurity/crs/crs-setup.conf', `${crs}/crs-setup.conf.example`].find(existsSync)
  if (setup === undefined) throw new Error('no Core Rule Set found; on Debian: apt-get install modsecurity-crs')
  writeFileSync(
    file,
    `SecRuleEngine On
SecRequestBodyAccess On
SecRequestBodyLimit 13107200
SecRule REQUEST_HEADERS:Content-Type "^application/json" "id:1,phase:1,t:none,t:lowercase,pass,nolog,ctl:requestBodyProcessor=JSON"
SecAuditEngine Off
SecTmpDir ${directory}
SecDataDir ${directory}
SecUnicodeMapFile ${['/etc/nginx/unicode.mapping', '/etc/modsecurity/unicode.mapping', '/usr/share/modsecurity-crs/util/unicode.mapping'].find(existsSync) ?? ''} 20127
Include ${setup}
Include ${crs}/rules/*.conf
`.replace(/^SecUnicodeMapFile {2}.*\n/m, ''),
  )
  return file
}

function start(core: string, command: string, args: readonly string[]): void {
  const child = spawn('taskset', ['-c', core, command, ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
  children.push(child)
}

async function waitFor(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    try {
      await (await fetch(`http://127.0.0.1:${port}/`)).arrayBuffer()
      return
    } catch {
      await new Promise((wake) => setTimeout(wake, 100))
    }
  }
  throw new Error(`nothing answers on 127.0.0.1:${port}`)
}

/** Requests a second of one round; fails when answers were not 2xx, since refusals are cheaper than answers. */
function load(wrk: string, script: string, port: number): number {
  const { stdout } = spawnSync(
    'taskset',
    ['-c', LOAD_CORE, wrk, '-t1', `-c${CONNECTIONS}`, `-d${SECONDS}s`, '-s', script, `http://127.0.0.1:${port}/`],
    { encoding: 'utf8' },
  )
  if (/Non-2xx/.test(stdout)) throw new Error(`port ${port} refused the benign load:\n${stdout}`)
  const found = /Requests\/sec:\s+([0-9.]+)/.exec(stdout)?.[1]
  if (found === undefined) throw new Error(`wrk printed no figure for port ${port}:\n${stdout}`)
  return Number(found)
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] as number

async function main(): Promise<void> {
  const nginx = need('nginx', 'nginx')
  const wrk = need('wrk', 'wrk')
  const directory = mkdtempSync(join(tmpdir(), 'ringwall-bench-'))
  try {
    const upstream = nginxConfig(
      directory,
      'upstream',
      `server { listen 127.0.0.1:${PORTS.upstream}; location / { default_type text/plain; return 200 '${'x'.repeat(1_024)}'; } }`,
    )
    start(LOAD_CORE, nginx, ['-c', upstream])
    start(PROXY_CORE, nginx, ['-c', nginxConfig(directory, 'plain', proxyServer(PORTS.nginx))])
    const module = '/usr/lib/nginx/modules/ngx_http_modsecurity_module.so'
    if (!existsSync(module))
      throw new Error(
        'nginx’s ModSecurity module is missing; on Debian: apt-get install libnginx-mod-http-modsecurity modsecurity-crs',
      )
    const ndk = existsSync('/usr/lib/nginx/modules/ndk_http_module.so')
      ? 'load_module /usr/lib/nginx/modules/ndk_http_module.so;\n'
      : ''
    const guarded = proxyServer(PORTS.modsecurity, `modsecurity on; modsecurity_rules_file ${modsecurityRules(directory)};`)
    start(PROXY_CORE, nginx, ['-c', nginxConfig(directory, 'modsecurity', guarded, `${ndk}load_module ${module};`)])
    const cli = resolve(import.meta.dirname, '../packages/cli/src/main.ts')
    const protect = (port: number, more: readonly string[]): void =>
      start(PROXY_CORE, process.execPath, [
        '--disable-warning=ExperimentalWarning',
        cli,
        'protect',
        `http://127.0.0.1:${PORTS.upstream}`,
        '--listen',
        `127.0.0.1:${port}`,
        '--data',
        join(directory, `data-${port}`),
        ...more,
      ])
    protect(PORTS.ringwall, ['--rules', 'base'])
    protect(PORTS.ringwallCrs, ['--rules', 'crs'])
    const off = join(directory, 'off.yaml')
    writeFileSync(
      off,
      `version: 1\nservices:\n  app:\n    upstreams: [{ url: "http://127.0.0.1:${PORTS.upstream}" }]\n    waf: { mode: "off" }\n`,
    )
    protect(PORTS.ringwallOff, ['--config', off])
    for (const { port } of CONTENDERS) await waitFor(port)

    for (const request of BENCH_REQUESTS) {
      const file = join(directory, 'load.lua')
      writeFileSync(file, `${wrkScript(request)}\n`)
      const rates = new Map<string, number[]>(CONTENDERS.map(({ name }) => [name, []]))
      for (let round = -1; round < ROUNDS; round += 1) {
        for (const { name, port } of CONTENDERS) {
          if (process.stderr.isTTY) process.stderr.write(`\r${request.name}: round ${round + 1}/${ROUNDS} ${name.padEnd(32)}`)
          const rate = load(wrk, file, port)
          // The first round warms caches and compilers up, theirs and ours.
          if (round >= 0) rates.get(name)?.push(rate)
        }
      }
      if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
      const nginxRate = median(rates.get('nginx') as number[])
      const modsecurityRate = median(rates.get('nginx + ModSecurity + CRS') as number[])
      process.stdout.write(
        `\n${request.name} (median of ${ROUNDS} rounds of ${SECONDS} s, ${CONNECTIONS} connections, one core)\n`,
      )
      process.stdout.write(
        `  ${'proxy'.padEnd(32)}${'requests/s'.padStart(12)}${'of nginx'.padStart(12)}${'of ModSecurity'.padStart(16)}${'spread'.padStart(10)}\n`,
      )
      for (const [name, values] of rates) {
        const rate = median(values)
        const spread = (Math.max(...values) - Math.min(...values)) / rate
        process.stdout.write(
          `  ${name.padEnd(32)}${rate.toFixed(0).padStart(12)}${(rate / nginxRate).toFixed(2).padStart(12)}${(rate / modsecurityRate).toFixed(1).padStart(16)}${`${(spread * 100).toFixed(0)} %`.padStart(10)}\n`,
        )
      }
    }
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
