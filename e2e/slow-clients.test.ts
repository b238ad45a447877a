/**
 * Slow clients, as many as this machine lets one program open, by slowhttptest in all its modes: slow heads, slow bodies, slow readers,
 * ranges. A normal client from another address asks all the while; what it sees is printed beside what it saw before. SECONDS in the
 * environment says how long each attack lasts, RATE how many connections it opens a second.
 */

import assert from 'node:assert/strict'
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from '../tools/free-ports.ts'
import { type Program, startProtect } from './program.ts'

const CONNECTIONS_WANTED = 5_000
/** Of one attack. */
const SECONDS = Number(process.env.SECONDS ?? 4)
const RATE = Number(process.env.RATE ?? 2_500)
const PAUSE_MS = 20

const installed = spawnSync('sh', ['-c', 'command -v slowhttptest'], { encoding: 'utf8' }).stdout.trim() !== ''
const skip = installed ? false : 'slowhttptest is not installed (on Debian: apt-get install slowhttptest); nothing was tested'

/** Each of slowhttptest's connections is two files at most, ours one towards the client and one behind. */
function connectionsPossible(): number {
  const limit = Number(spawnSync('sh', ['-c', 'ulimit -n'], { encoding: 'utf8' }).stdout.trim())
  return Math.min(CONNECTIONS_WANTED, Math.floor((Number.isFinite(limit) ? limit : 100_000) / 3))
}

let data: string
let port: number
let node: Program
let upstream: ChildProcess

/** Apart from us, who measure. */
const UPSTREAM = `
const long = Buffer.alloc(65_536, 'x')
const server = require('node:http').createServer((asked, response) => {
  asked.resume()
  asked.on('end', () => response.end(asked.url === '/long' ? long : 'hello'))
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
`

// A node for each attack: whom one has denied would spare the next.
beforeEach(async () => {
  if (!installed) return
  data = mkdtempSync(join(tmpdir(), 'ringwall-slow-'))
  upstream = spawn(process.execPath, ['-e', UPSTREAM], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [said] = (await once(upstream.stdout!, 'data')) as [Buffer]
  port = await freePort()
  const url = `http://127.0.0.1:${String(said).trim()}`
  const policy = join(data, 'policy.yaml')
  // Two sources share loopback's address space: bounds by source are what keeps the attacker from taking all connections.
  writeFileSync(policy, JSON.stringify({ version: 1, services: { app: { upstreams: [{ url }], waf: { rules: ['base'] } } } }))
  node = await startProtect(url, port, join(data, 'ring'), '--config', policy)
  // What is compiled in the first second is no part of what an idle node takes.
  const warm = performance.now() + 1_500
  await normalClient(() => performance.now() > warm)
})

afterEach(async () => {
  if (!installed) return
  await node.end()
  upstream.kill('SIGKILL')
  rmSync(data, { recursive: true, force: true })
})

interface Seen {
  readonly asked: number
  readonly good: number
  readonly p99Ms: number
}

/** Asks one after the other until `over`, half of the time on a new connection. */
async function normalClient(over: () => boolean): Promise<Seen> {
  const kept = new Agent({ keepAlive: true, maxSockets: 1 })
  const timesMs: number[] = []
  let [asked, good] = [0, 0]
  while (!over()) {
    const startMs = performance.now()
    const isGood = await new Promise<boolean>((settle) => {
      const agent = asked % 2 === 0 ? kept : false
      const call = request({ host: '127.0.0.1', port, localAddress: '127.0.0.2', agent }, (response) => {
        response.resume()
        response.on('end', () => settle(response.statusCode === 200))
        response.on('error', () => settle(false))
      })
      call.setTimeout(5_000, () => call.destroy(new Error('no answer')))
      call.on('error', () => settle(false))
      call.end()
    })
    asked += 1
    if (isGood) {
      good += 1
      timesMs.push(performance.now() - startMs)
    }
    await sleep(PAUSE_MS)
  }
  kept.destroy()
  timesMs.sort((a, b) => a - b)
  return { asked, good, p99Ms: timesMs[Math.ceil(timesMs.length * 0.99) - 1] ?? Number.NaN }
}

function residentMb(): number {
  return Number(/VmRSS:\s+([0-9]+)/.exec(readFileSync(`/proc/${node.process.pid}/status`, 'utf8'))?.[1] ?? 0) / 1_024
}

const MODES: readonly (readonly [name: string, args: readonly string[]])[] = [
  ['slow heads', ['-H', '-i', '2', '-x', '16']],
  ['slow bodies', ['-B', '-i', '2', '-x', '16', '-s', '8192']],
  ['slow readers', ['-X', '-k', '3', '-n', '2', '-w', '64', '-y', '128', '-z', '16']],
  ['ranges', ['-R', '-a', '10', '-b', '3000', '-t', 'HEAD']],
]

for (const [name, args] of MODES) {
  test(`${name}: a normal client hardly notices`, { skip, timeout: 120_000 }, async (t) => {
    const connections = connectionsPossible()
    const idleOver = performance.now() + 1_000
    const idle = await normalClient(() => performance.now() > idleOver)
    assert.equal(idle.good, idle.asked)
    const url = `http://127.0.0.1:${port}/${name === 'slow readers' ? 'long' : ''}`
    const common = ['-c', String(connections), '-r', String(RATE), '-l', String(SECONDS), '-v', '0', '-u', url]
    const attack = spawn('slowhttptest', [...args, ...common], { stdio: 'ignore' })
    const ended = once(attack, 'exit')
    let highestMb = 0
    const weighing = setInterval(() => {
      highestMb = Math.max(highestMb, residentMb())
    }, 250)
    const attacked = await normalClient(() => attack.exitCode !== null || attack.signalCode !== null)
    await ended
    clearInterval(weighing)
    const { good, asked, p99Ms } = attacked
    t.diagnostic(
      `${connections} connections for ${SECONDS} s: ${good} of ${asked} answered, p99 ${p99Ms.toFixed(1)} ms (idle ${idle.p99Ms.toFixed(1)} ms), at most ${highestMb.toFixed(0)} MB resident`,
    )
    assert.ok(asked > 10, `the client asked ${asked} times only`)
    assert.ok(good >= asked * 0.99, `${good} of ${asked} were answered`)
    // What 5,000 connections may hold at most: both directions' bounds and the engine.
    assert.ok(highestMb < 1_024, `${highestMb.toFixed(0)} MB resident`)
    const last = performance.now() + 200
    const afterwards = await normalClient(() => performance.now() > last)
    assert.equal(afterwards.good, afterwards.asked)
  })
}

const wrk = spawnSync('sh', ['-c', 'command -v wrk'], { encoding: 'utf8' }).stdout.trim() !== ''

test('a flood of requests from one source: others are served', {
  skip: wrk ? skip : 'wrk is not installed (on Debian: apt-get install wrk); nothing was tested',
  timeout: 60_000,
}, async (t) => {
  // All that fit at once, each asking again as soon as it has an answer: many times what the node can carry.
  const flood = spawn('wrk', ['-t1', '-c1000', `-d${SECONDS + 4}s`, `http://127.0.0.1:${port}/long`], {
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  let said = ''
  flood.stdout.on('data', (chunk: Buffer) => {
    said += String(chunk)
  })
  const ended = once(flood, 'exit')
  await sleep(2_000)
  const { good, asked, p99Ms } = await normalClient(() => flood.exitCode !== null)
  await ended
  const refused = /Non-2xx or 3xx responses: ([0-9]+)/.exec(said)?.[1] ?? '0'
  const all = /([0-9]+) requests in/.exec(said)?.[1] ?? '0'
  t.diagnostic(
    `after 2 s: ${good} of ${asked} answered, p99 ${p99Ms.toFixed(1)} ms; ${refused} of the flood's ${all} requests were refused`,
  )
  assert.ok(Number(all) > 0, 'the flood asked nothing')
  assert.ok(good >= asked * 0.99, `${good} of ${asked} were answered`)
})
