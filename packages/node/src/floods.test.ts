import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { FloodReading } from '@ringwall/detect'
import { type DenialSubject, parsePolicyDocument, type View } from '@ringwall/ring'
import { FloodWatch } from './floods.ts'

const POLICY = 'version: 1\nservices: { app: { upstreams: [{ url: "http://127.0.0.1:3000" }] } }\n'

function watch(more = '') {
  const document = parsePolicyDocument(`${POLICY}${more}`)
  assert.ok(document.ok)
  const denied: [DenialSubject, number, string][] = []
  const lines: string[] = []
  const counted = { named: 0 }
  const floods = new FloodWatch({
    view: () => ({ policy: document.policy }) as View,
    deny: (subject, ttlMs, reason) => denied.push([subject, ttlMs, reason]),
    say: (line) => lines.push(line),
    count: (named) => {
      counted.named += named
    },
  })
  return { floods, denied, lines, counted }
}

/** What a thread tells in a tenth of a second of a flood from these sources, of which it serves one in a hundred requests. */
function reading(sources: readonly string[]): FloodReading {
  const demand = 100 * sources.length
  return {
    spanMs: 100,
    pressed: true,
    demand,
    served: demand / 100,
    sources: sources.map((source) => [source, 100, 100, 99, 4]),
    fingerprints: [],
    knocks: [],
  }
}

function flood(floods: FloodWatch, sources: readonly string[], seconds = 2): void {
  for (let at = 0; at < 10 * seconds; at += 1) floods.observe(reading(sources), 1_000 + at * 100)
}

test('a finding becomes a denial: of an address, of the /64 of an IPv6 source; for a minute, with the reason', () => {
  const { floods, denied, lines, counted } = watch()
  const [high, low] = [0x20010db8, 0x00010002]
  flood(floods, ['203.0.113.7', `${high}:${low}`])
  assert.deepEqual(
    denied.map(([subject, ttlMs]) => [subject, ttlMs]),
    [
      [{ kind: 'ip', value: '203.0.113.7' }, 60_000],
      [{ kind: 'cidr', value: '2001:db8:1:2::/64' }, 60_000],
    ],
  )
  assert.match(denied[0]![2], /^flood: [0-9]+ requests a second while the node is overloaded \(confidence 0\.[0-9]+\)$/)
  assert.equal(lines.length, 1)
  assert.equal(counted.named, 2)
  assert.match(lines[0]!, /^flood: ip 203\.0\.113\.7, cidr 2001:db8:1:2::\/64 denied; the first: /)
})

test('whom the policy calls safe or a trusted proxy is never denied', () => {
  const { floods, denied } = watch('trustedProxies: [10.0.0.0/8]\ndenials: { safe: [192.0.2.0/24] }\n')
  flood(floods, ['10.1.2.3', '192.0.2.9', '203.0.113.7'])
  assert.deepEqual(
    denied.map(([subject]) => subject.value),
    ['203.0.113.7'],
  )
})

test('shadow says whom it would deny; off does not look; the limit and the times are the policy’s', () => {
  const shadow = watch('detectors: { floods: { mode: shadow } }\n')
  flood(shadow.floods, ['203.0.113.7'])
  assert.deepEqual(shadow.denied, [])
  assert.match(shadow.lines[0] ?? '', /ip 203\.0\.113\.7 would be denied/)
  const off = watch('detectors: { floods: { mode: "off" } }\n')
  flood(off.floods, ['203.0.113.7'])
  assert.deepEqual([off.denied, off.lines], [[], []])
  const patient = watch('detectors: { floods: { perSource: 2000 } }\n')
  flood(patient.floods, ['203.0.113.7'])
  assert.deepEqual(patient.denied, [])
  const brief = watch('detectors: { floods: { denyFor: 20s, denyForMax: 5s } }\n')
  flood(brief.floods, ['203.0.113.7'], 1)
  assert.equal(brief.denied[0]?.[1], 5_000)
})

test('what several threads see of one source is one', () => {
  const { floods, denied } = watch('detectors: { floods: { perSource: 1500 } }\n')
  for (let at = 0; at < 20; at += 1)
    for (const thread of [0, 1]) floods.observe(reading(['203.0.113.7']), 1_000 + at * 100 + thread, thread)
  assert.equal(denied.length, 1)
})
