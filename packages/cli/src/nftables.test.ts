import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { parseAddress, parsePrefix, prefixContains } from '@ringwall/ring'
import fc from 'fast-check'
import { type DeniedPrefix, nftablesScript } from './commands/nftables.ts'
import { startTestNode } from './test-node.ts'

const NOW = 1_800_000_000_000
const folder = mkdtempSync(join(tmpdir(), 'ringwall-nft-'))
after(() => rmSync(folder, { recursive: true, force: true }))

/** In a network of its own, where there is one to be had: `nft` talks to the kernel even to check. */
function nft(script: string, ...args: readonly string[]): { readonly status: number | null; readonly said: string } {
  const file = join(folder, 'denied.nft')
  writeFileSync(file, script)
  const run = spawnSync('unshare', [process.getuid?.() === 0 ? '-n' : '-rn', 'nft', ...args, '-f', file], { encoding: 'utf8' })
  return { status: run.status, said: `${run.stdout}${run.stderr}` }
}
const probe = nft('table inet probe\n', '-c')
const skip =
  probe.status === 0 ? false : `nft cannot be run here (Debian: apt-get install nftables): ${probe.said.split('\n', 1)[0]}`

const denied = (prefix: string, seconds = 60): DeniedPrefix => ({ prefix, expiresAtMs: NOW + seconds * 1_000 })
const script = (list: readonly DeniedPrefix[], ports?: readonly number[]): string => nftablesScript(list, { nowMs: NOW, ports })

/** Seconds by range, of one of the sets. */
function elements(text: string): readonly { readonly first: string; readonly last: string; readonly seconds: number }[] {
  return [...text.matchAll(/([0-9a-f.:]+)(?:-([0-9a-f.:]+))? timeout (\d+)s/g)].map(([, first = '', last, seconds]) => ({
    first,
    last: last ?? first,
    seconds: Number(seconds),
  }))
}

test('addresses and prefixes of both versions, each until its denial ends; others are left out', () => {
  const text = script([
    denied('203.0.113.7', 59.2),
    denied('198.51.100.0/24'),
    denied('2001:db8::/48'),
    denied('192.0.2.1', -1),
    denied('x'),
  ])
  assert.deepEqual(elements(text), [
    { first: '198.51.100.0', last: '198.51.100.255', seconds: 60 },
    { first: '203.0.113.7', last: '203.0.113.7', seconds: 60 },
    { first: '2001:db8::', last: '2001:db8:0:ffff:ffff:ffff:ffff:ffff', seconds: 60 },
  ])
  assert.match(script([denied('203.0.113.7')], [80, 443]), /tcp dport \{ 80, 443 \} ip saddr @denied_v4 drop/)
  assert.doesNotMatch(script([]), /elements|dport/)
})

test('what lies within another ends with the later of the two', () => {
  assert.deepEqual(elements(script([denied('203.0.113.0/24', 60), denied('203.0.113.7', 600), denied('203.0.113.9', 5)])), [
    { first: '203.0.113.0', last: '203.0.113.6', seconds: 60 },
    { first: '203.0.113.7', last: '203.0.113.7', seconds: 600 },
    { first: '203.0.113.8', last: '203.0.113.255', seconds: 60 },
  ])
})

const prefixes = fc.array(
  fc.record({
    host: fc.nat(1_023),
    length: fc.integer({ min: 20, max: 32 }),
    seconds: fc.integer({ min: 1, max: 5 }),
  }),
  { maxLength: 12 },
)
const textOf = (number: number): string => `198.51.${(number >> 8) + 100}.${number & 255}`
const listOf = (given: readonly { host: number; length: number; seconds: number }[]): DeniedPrefix[] =>
  given.map(({ host, length, seconds }) =>
    denied(`${textOf(length >= 32 ? host : host & ~((1 << Math.min(10, 32 - length)) - 1))}/${Math.max(length, 22)}`, seconds),
  )

test('property: exactly the denied addresses are in it, each once, each until the last of its denials ends', () => {
  fc.assert(
    fc.property(prefixes, fc.array(fc.nat(1_023), { minLength: 1, maxLength: 20 }), (given, probes) => {
      const list = listOf(given).filter(({ prefix }) => parsePrefix(prefix) !== undefined)
      const found = elements(script(list))
      const number = (text: string): number => text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0)
      for (const host of probes) {
        const address = textOf(host)
        const holding = found.filter(({ first, last }) => number(first) <= number(address) && number(address) <= number(last))
        const denials = list.filter(({ prefix }) => prefixContains(parsePrefix(prefix)!, parseAddress(address)!))
        const until = Math.max(0, ...denials.map(({ expiresAtMs }) => expiresAtMs))
        assert.deepEqual(
          holding.map(({ seconds }) => seconds),
          until === 0 ? [] : [(until - NOW) / 1_000],
          address,
        )
      }
    }),
  )
})

test('nft takes it, and takes it again: overlaps, both versions, none, thousands', { skip }, () => {
  const many = Array.from({ length: 2_000 }, (_, at) => denied(`10.${at >> 8}.${at & 255}.${at % 251}`, 60 + (at % 7)))
  for (const [list, ports] of [
    [[], undefined],
    [
      [denied('203.0.113.0/24', 60), denied('203.0.113.7', 600), denied('2001:db8::/32'), denied('2001:db8:1::/48', 900)],
      [80, 443],
    ],
    [[denied('0.0.0.0/1'), denied('128.0.0.0/1'), denied('::/0')], undefined],
    [many, [443]],
  ] as const) {
    const text = script(list, ports)
    const checked = nft(text, '-c')
    assert.equal(checked.status, 0, checked.said.slice(0, 400))
    // Twice in one go, and it stands once.
    const taken = nft(`${text}${text}list table inet ringwall\n`)
    assert.equal(taken.status, 0, taken.said.slice(0, 400))
    assert.equal(taken.said.match(/table inet ringwall/g)?.length, 1)
  }
})

test('property: whatever is denied, nft takes it', { skip }, () => {
  fc.assert(
    fc.property(prefixes, (given) => {
      const list = listOf(given).filter(({ prefix }) => parsePrefix(prefix) !== undefined)
      const { status, said } = nft(script(list), '-c')
      assert.equal(status, 0, said.slice(0, 400))
    }),
    { numRuns: 40 },
  )
})

/** Connects from each address to a port of its own, within a network of its own. */
const CONNECT = `
const net = require('node:net')
const server = net.createServer((socket) => socket.end()).listen(8080, '127.0.0.1', async () => {
  const from = (localAddress) => new Promise((settle) => {
    const socket = net.connect({ port: 8080, host: '127.0.0.1', localAddress, timeout: 700 })
    socket.on('connect', () => { socket.destroy(); settle('in') })
    socket.on('timeout', () => { socket.destroy(); settle('out') })
    socket.on('error', () => settle('error'))
  })
  console.log((await Promise.all(process.argv.slice(1).map(from))).join(' '))
  server.close()
})
`

test('the command prints what is certain, and the kernel drops it and nothing else', { skip }, async (t) => {
  const node = await startTestNode()
  t.after(() => node.stop())
  for (const [kind, value] of [
    ['ip', '127.0.0.7'],
    ['cidr', '127.1.2.0/24'],
    ['token', 'T-1'],
  ] as const)
    assert.equal((await node.run('deny', 'add', kind, value, '--ttl', '10m')).code, 0)
  const wrong = await node.run('deny', 'export', '--ports', '80,https')
  assert.deepEqual([wrong.code, wrong.stdout], [2, ''])
  assert.match(wrong.stderr, /--ports 80,https: expected ports such as 80,443, or all/)
  const { code, stdout, stderr } = await node.run('deny', 'export', '--ports', '8080')
  assert.equal(code, 0, stderr)
  assert.equal(elements(stdout).length, 2)
  const file = join(folder, 'kernel.nft')
  writeFileSync(file, stdout)
  const sources = ['127.0.0.7', '127.1.2.99', '127.0.0.8', '127.1.3.1']
  const shell = 'ip link set lo up && nft -f "$1" && nft -f "$1" && shift && exec "$@"'
  const flags = process.getuid?.() === 0 ? '-n' : '-rn'
  const run = spawnSync('unshare', [flags, 'sh', '-c', shell, 'sh', file, process.execPath, '-e', CONNECT, ...sources], {
    encoding: 'utf8',
  })
  assert.equal(run.stdout.trim(), 'out out in in', run.stderr)
})
