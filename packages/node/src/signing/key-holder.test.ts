import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import {
  type GenesisDocument,
  parseGenesis,
  publicKeyOf,
  type RingApplication,
  type RingState,
  type TxBody,
} from '@ringwall/ring'
import { encodeBase64url, encodeTx, signingBytes } from '@ringwall/ring/tx'
import { edwards, KeyShare, lagrangeAtZero, ORDER } from '@ringwall/threshold'
import { randomNonce } from '../keys.ts'
import { ringApplication } from '../ring-application.ts'
import { loadRuleLibrary } from '../rules.ts'
import type { CeremonyTask } from './ceremony-messages.ts'
import { CeremonyThread } from './ceremony-thread.ts'
import { KeyHolder } from './key-holder.ts'
import type { NodeShare } from './node-share.ts'
import { Seal } from './sealed-file.ts'
import { ThreadGone } from './task-thread.ts'

const NOW = Date.now()

interface Someone {
  readonly id: string
  readonly key: KeyObject
  readonly directory: string
  holder: KeyHolder | undefined
  share: NodeShare | undefined
  /** Notices for people. */
  readonly said: string[]
}

/** The share as the signing thread has it. */
function taken({ share }: Someone): KeyShare {
  return KeyShare.decode((share as NodeShare).copy())
}

/** A ledger in one object: a block whenever a test says so, with all that was submitted since. */
class Board {
  readonly app: RingApplication
  readonly people: Someone[]
  readonly #operator = generateKeyPairSync('ed25519').privateKey
  readonly #directory: string
  /** One for all: each holder of a ring has its own. */
  readonly thread = new CeremonyThread(() => {})
  #pending: Uint8Array[] = []
  state: RingState
  height = 0
  nowMs = NOW
  /** Called before a statement is taken: a test may have its sender die there. */
  onSubmit: (from: Someone, body: TxBody) => void = () => {}
  /** Called before a thread gets a task: a test may have it throw, as a thread that died. */
  onTask: (from: Someone, task: CeremonyTask) => void = () => {}

  constructor(t: TestContext, count: number) {
    this.#directory = mkdtempSync(join(tmpdir(), 'ringwall-holder-'))
    t.after(async () => {
      await this.thread.stop()
      rmSync(this.#directory, { recursive: true, force: true })
    })
    this.people = Array.from({ length: count }, (_, i) => this.someone(`n${i + 1}`))
    const genesis: GenesisDocument = parseGenesis(
      JSON.stringify({
        format: 'ringwall/genesis/1',
        createdAtMs: NOW,
        nodes: this.people.map(({ id, key }) => this.entry(id, key)),
        operators: [{ name: 'ada', publicKey: this.#operator.export({ format: 'jwk' }).x }],
        policy: 'version: 1\nservices:\n  shop:\n    upstreams:\n      - url: http://127.0.0.1:3000\n',
      }),
    )
    this.app = ringApplication(genesis, loadRuleLibrary({}))
    this.state = this.app.initial()
  }

  entry(id: string, key: KeyObject): object {
    const publicKey = key.export({ format: 'jwk' }).x
    return { id, region: 'eu', address: '127.0.0.1:9', publicKey, roles: ['validator'] }
  }

  someone(id: string): Someone {
    const key = generateKeyPairSync('ed25519').privateKey
    return { id, key, directory: join(this.#directory, id), holder: undefined, share: undefined, said: [] }
  }

  async start(...people: readonly Someone[]): Promise<void> {
    for (const someone of people) {
      const holder = await KeyHolder.open({
        self: someone.id,
        key: 'signing',
        directory: someone.directory,
        seal: new Seal(someone.key, `${this.app.ring} ${someone.id}`),
        events: { add: (_kind, _level, line) => someone.said.push(line) },
        submit: async (body) => {
          this.onSubmit(someone, body)
          if (someone.holder === holder) this.submit(`node:${someone.id}`, someone.key, body)
        },
        thread: {
          warm: () => this.thread.warm(),
          run: (task) => {
            this.onTask(someone, task)
            return this.thread.run(task)
          },
        },
        onShare: (share) => {
          someone.share = share
        },
      })
      someone.holder = holder
    }
  }

  /** As SIGKILL does: nothing is finished, nothing said. */
  kill(someone: Someone): void {
    void someone.holder?.stop()
    someone.holder = undefined
    someone.share = undefined
  }

  submit(issuer: string, key: KeyObject, body: TxBody): void {
    const content = { ring: this.app.ring, issuer, atMs: this.nowMs, untilMs: this.nowMs + 60_000, nonce: randomNonce(), body }
    this.#pending.push(encodeTx({ content, signature: encodeBase64url(new Uint8Array(sign(null, signingBytes(content), key))) }))
  }

  ask(body: TxBody): void {
    this.submit('operator:ada', this.#operator, body)
  }

  async block(ms = 100): Promise<void> {
    this.nowMs += ms
    this.height += 1
    const context = { height: this.height, timestampMs: this.nowMs, proposer: 'n1' }
    const txs = this.app.prepare(this.state, this.#pending, context, 1_000_000)
    this.#pending = []
    const executed = this.app.execute(this.state, txs, context)
    assert.ok(executed.ok, JSON.stringify(executed))
    this.state = executed.state
    for (const { holder } of this.people) holder?.follow(this.state)
    for (const { holder } of this.people) await holder?.settled()
  }

  async until(done: () => boolean, ms = 100): Promise<void> {
    for (let blocks = 0; !done(); blocks += 1) {
      assert.ok(blocks < 40, `nothing comes of it: ${JSON.stringify(this.app.view(this.state, 0, 0).signingKey)}`)
      await this.block(ms)
    }
  }

  isHeldBy(...people: readonly Someone[]): boolean {
    const name = publicKeyOf(this.state.signingKey)?.name
    return name !== undefined && people.every(({ share }) => share?.keyName === name)
  }
}

test('four holders make a key from what the state says; a restart finds the share, sealed and private', async (t) => {
  const board = new Board(t, 4)
  await board.start(...board.people)
  await board.until(() => board.isHeldBy(...board.people))
  assert.deepEqual(board.state.signingKey.faults, [])
  for (const someone of board.people) {
    assert.deepEqual(readdirSync(someone.directory), ['share.sealed'], 'seeds are erased')
    const file = join(someone.directory, 'share.sealed')
    assert.equal(statSync(file).mode & 0o777, 0o600)
    const secret = taken(someone).secret.revealBytes()
    assert.equal(readFileSync(file).indexOf(Buffer.from(secret)), -1)
    const text = someone.said.join('\n')
    assert.ok(!text.includes(Buffer.from(secret).toString('hex')) && !text.includes(Buffer.from(secret).toString('base64url')))
  }
  // Two of the three that it takes make another key: whoever reads two nodes has nothing.
  const shares = board.people.map(taken)
  const made = (held: readonly KeyShare[]): boolean => {
    const weights = lagrangeAtZero(held.map(({ index }) => index))
    const secret = held.reduce((sum, share, i) => (sum + (weights[i] as bigint) * share.secret.reveal()) % ORDER, 0n)
    return edwards.equals(edwards.multiplyBase(secret), (held[0] as KeyShare).publicKey.element)
  }
  assert.ok(made(shares.slice(0, 3)) && made(shares.slice(1)) && !made(shares.slice(0, 2)) && !made(shares.slice(2)))
  const [first] = board.people as [Someone]
  const before = taken(first).secret.reveal()
  board.kill(first)
  await board.start(first)
  assert.equal(taken(first).secret.reveal(), before)
})

test('killed before and after each statement, all come to the key, nobody is named, and each says the same again', async (t) => {
  const board = new Board(t, 4)
  const said = new Map<string, string>()
  const deaths = new Set<string>()
  board.onSubmit = (from, body) => {
    if (!('attempt' in body)) return
    const what = `${from.id} ${body.type} ${body.attempt}`
    const text = JSON.stringify(body)
    assert.equal(said.get(what) ?? text, text, 'what is said again is the same')
    said.set(what, text)
    // Every statement's sender dies once with it on its lips; it is not heard.
    if (deaths.has(what)) return
    deaths.add(what)
    board.kill(from)
  }
  for (let round = 0; !board.isHeldBy(...board.people); round += 1) {
    assert.ok(round < 40)
    await board.start(...board.people.filter(({ holder }) => holder === undefined))
    await board.block()
  }
  assert.equal(deaths.size, 12, 'four times enrolling, dealing, answering')
  assert.deepEqual(board.state.signingKey.faults, [])
})

test('killed between the end of a ceremony and the share on disk, it comes to its share when it starts', async (t) => {
  const board = new Board(t, 4)
  await board.start(...board.people)
  const [late] = board.people as [Someone]
  await board.until(() => board.state.signingKey.ceremony?.phase === 'answering')
  board.kill(late)
  await board.until(() => board.state.signingKey.publicKey !== null, 10_000)
  assert.equal(late.share, undefined)
  await board.block(86_400_000)
  await board.start(late)
  await board.until(() => board.isHeldBy(...board.people))
})

test('a thread that dies over each task once costs time and nothing else: no share is erased, nobody is named', async (t) => {
  const board = new Board(t, 4)
  await board.start(...board.people)
  const died = new Set<string>()
  board.onTask = ({ id }, { kind }) => {
    const what = `${id} ${kind} ${board.state.signingKey.attempts}`
    if (died.has(what)) return
    died.add(what)
    throw new ThreadGone('the ceremony thread ended')
  }
  await board.until(() => board.isHeldBy(...board.people))
  const groupKey = publicKeyOf(board.state.signingKey)?.groupKey
  board.ask({ type: 'key.refresh', key: 'signing', reason: 'monthly' })
  await board.until(() => board.state.signingKey.attempts === 2 && board.state.signingKey.ceremony === null)
  await board.until(() => board.isHeldBy(...board.people))
  assert.deepEqual(publicKeyOf(board.state.signingKey)?.groupKey, groupKey)
  assert.equal(died.size, 2 * 4 * 4, 'of two ceremonies, four nodes: enrolling, dealing, answering, opening')
  assert.deepEqual(board.state.signingKey.faults, [])
  assert.match(board.people[0]?.said.join('\n') ?? '', /the ceremony thread ended/)
})

test('a refresh leaves neither the old share nor a seed behind; an old file does not pass for the new one', async (t) => {
  const board = new Board(t, 4)
  await board.start(...board.people)
  await board.until(() => board.isHeldBy(...board.people))
  const [first, ...others] = board.people as [Someone, ...Someone[]]
  const file = join(first.directory, 'share.sealed')
  const old = readFileSync(file)
  const groupKey = publicKeyOf(board.state.signingKey)?.groupKey
  const before = first.share as NodeShare
  board.ask({ type: 'key.refresh', key: 'signing', reason: 'monthly' })
  await board.until(() => board.state.signingKey.attempts === 2 && board.state.signingKey.ceremony === null)
  await board.until(() => board.isHeldBy(...board.people))
  assert.deepEqual(publicKeyOf(board.state.signingKey)?.groupKey, groupKey)
  assert.ok(before.wiped)
  assert.deepEqual(readdirSync(first.directory), ['share.sealed'])
  assert.notDeepEqual(readFileSync(file), old)
  // A disk from a backup: its share is of no use, and the next refresh gives a new one.
  board.kill(first)
  writeFileSync(file, old)
  await board.start(first)
  await board.block()
  assert.equal(first.share, undefined)
  assert.match(first.said.join('\n'), /key refresh/)
  board.ask({ type: 'key.refresh', key: 'signing', reason: 'n1 lost its share' })
  await board.until(() => board.state.signingKey.attempts === 3 && board.state.signingKey.ceremony === null, 5_000)
  await board.until(() => board.isHeldBy(first, ...others))
})

test('a validator that joins gets a share, one that leaves keeps none that counts', async (t) => {
  const board = new Board(t, 4)
  await board.start(...board.people)
  await board.until(() => board.isHeldBy(...board.people))
  const groupKey = publicKeyOf(board.state.signingKey)?.groupKey
  const fifth = board.someone('n5')
  board.ask({ type: 'node.add', node: board.entry('n5', fifth.key) as never, reason: 'more' })
  board.people.push(fifth)
  await board.start(fifth)
  await board.until(() => board.isHeldBy(...board.people))
  assert.deepEqual(publicKeyOf(board.state.signingKey)?.groupKey, groupKey)
  board.ask({ type: 'node.remove', id: 'n1', reason: 'old' })
  await board.until(() => publicKeyOf(board.state.signingKey)?.members.length === 4, 1_000)
  const [gone, ...stay] = board.people as [Someone, ...Someone[]]
  await board.until(() => board.isHeldBy(...stay))
  assert.equal(gone.share, undefined)
  assert.deepEqual(readdirSync(gone.directory), [])
})

test('a share sealed for another node, or changed on disk, is refused with what to do', async (t) => {
  const board = new Board(t, 4)
  await board.start(...board.people)
  await board.until(() => board.isHeldBy(...board.people))
  const [first, second] = board.people as [Someone, Someone]
  board.kill(first)
  const file = join(first.directory, 'share.sealed')
  const own = readFileSync(file)
  for (const bytes of [readFileSync(join(second.directory, 'share.sealed')), own.subarray(0, -1), Buffer.alloc(0)]) {
    writeFileSync(file, bytes)
    await assert.rejects(board.start(first), { code: 'KEY_INVALID', message: /was not sealed by this node’s key/ })
  }
})
