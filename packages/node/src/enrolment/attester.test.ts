import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type AttestationStatement, Enrolment, type RingState, type TrustRecord, type TxBody } from '@ringwall/ring'
import { Attester } from './attester.ts'
import type { Vouching } from './vouching.ts'

const root = mkdtempSync(join(tmpdir(), 'ringwall-attester-'))
after(() => rmSync(root, { recursive: true }))
const hash = (digit: string): string => digit.repeat(64)
type Quote = Extract<AttestationStatement, { type: 'attest.quote' }>

/** A node with a ring that takes what it says. */
class Scene {
  readonly said: Quote[] = []
  readonly told: string[] = []
  noticed = 0
  measured = { configuration: hash('c'), program: hash('d') }
  record: TrustRecord = {
    ...{ node: 'n1', kind: 'none', ak: null, atMs: null, saidMs: 0, boot: null, former: [], clock: null },
    ...{ staleAtMs: 0, untilMs: 0, outAtMs: 0, configuration: null, program: null, pcrs: null },
    held: { program: null, pcrs: null },
  }
  readonly attester: Attester

  constructor(caseFile?: string, everyMs = 60_000) {
    this.attester = new Attester({
      self: 'n1',
      ring: hash('a'),
      measurer: { measure: async () => this.measured },
      vouching: {} as Vouching,
      tpm: undefined,
      caseInput: caseFile === undefined ? undefined : { file: caseFile, closed: '0' },
      events: { add: (_kind, _level, what) => void this.told.push(what) },
      onNoticed: () => {
        this.noticed += 1
      },
      state: () => this.#state(),
      every: () => everyMs,
      submit: async (body: TxBody) => this.#take(body as Quote),
    })
    this.attester.start()
  }

  #state(): RingState {
    const beacons = [{ atMs: 1, value: hash('b') }]
    const trust = { beacons, endorsements: [], expelled: [], nodes: [this.record], references: [] }
    const enrolment = Enrolment.from({ invitations: [], devices: [], trust, est: { clients: [], secrets: [] } })
    return { enrolment, fleet: { devices: [], nodes: [], releases: [] }, node: () => ({ region: 'eu' }) } as unknown as RingState
  }

  #take(quote: Quote): void {
    this.said.push(quote)
    const { boot, measured } = quote
    const { configuration, program } = measured
    this.record = { ...this.record, atMs: Date.now(), boot: { id: boot, sinceMs: Date.now() }, configuration, program }
    this.record = { ...this.record, held: { program: this.record.held.program ?? program, pcrs: null } }
  }

  async until(count: number): Promise<Quote> {
    for (let tries = 0; this.said.length < count; tries += 1) {
      assert.ok(tries < 500, `${this.said.length} quotes of ${count}`)
      await sleep(20)
    }
    return this.said.at(-1) as Quote
  }
}

test('a node that is as it was says so once an interval, and notices nothing', async (t) => {
  const scene = new Scene()
  t.after(() => scene.attester.stop())
  assert.equal((await scene.until(1)).alarm, null)
  await sleep(1_200)
  assert.deepEqual([scene.said.length, scene.noticed, scene.attester.noticed], [1, 0, undefined])
})

test('an opened case is said at once, an interval or not, and what the node noticed is in its events', async (t) => {
  const file = join(root, 'case')
  writeFileSync(file, '0')
  const scene = new Scene(file)
  t.after(() => scene.attester.stop())
  await scene.until(1)
  writeFileSync(file, '1')
  assert.equal((await scene.until(2)).alarm, 'case')
  assert.equal(scene.noticed, 1)
  assert.match(scene.told[0] ?? '', /this node noticed: its case was opened/)
})

test('a node in whose name another process speaks says so at once', async (t) => {
  const scene = new Scene()
  t.after(() => scene.attester.stop())
  await scene.until(1)
  scene.record = { ...scene.record, boot: { id: 'f'.repeat(16), sinceMs: Date.now() } }
  await scene.until(2)
  assert.match(scene.attester.noticed ?? '', /another process speaks with its key/)
})

test('what is first said of itself is how it is to be; a later change takes it out of traffic before the ring answers', async (t) => {
  const scene = new Scene(undefined, 1_000)
  t.after(() => scene.attester.stop())
  await scene.until(1)
  scene.measured = { ...scene.measured, program: hash('e') }
  while ((await scene.until(scene.said.length)).measured.program !== hash('e')) await sleep(20)
  assert.match(scene.attester.noticed ?? '', /PROGRAM_CHANGED/)
  assert.equal(scene.noticed, 1, 'once')
})
