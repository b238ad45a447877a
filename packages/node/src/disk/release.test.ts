import assert from 'node:assert/strict'
import { generateKeyPairSync, hash, type KeyObject, randomBytes } from 'node:crypto'
import { after, test } from 'node:test'
import { createFabric, type Fabric, type Peer } from '@ringwall/fabric'
import { type DevicesPolicy, diskLabel, type NodeDisk, type RingNode, type RingState, type Trust } from '@ringwall/ring'
import { decodeBase64url, encodeBase64url } from '@ringwall/ring/tx'
import { dealTrusted, encapsulate, type KeyShare, makePartial, type PublicKey, verifyCapsule } from '@ringwall/threshold'
import { ReplyKey } from '@ringwall/vault'
import { freePort } from '../free-port.ts'
import { rawPublicKey, signMessage } from '../keys.ts'
import type { OpeningRecord } from '../vault/opening-log.ts'
import { wrapKey } from './local-lock.ts'
import { machineFacts, machineVerifier } from './machine.ts'
import { askRing, RING_LOCK } from './release-asker.ts'
import { ReleaseHolder } from './release-holder.ts'
import { type ReleaseAnswer, type ReleaseRequest, releaseNonce, releaseSigningBytes } from './release-wire.ts'

const RING = 'ab'.repeat(32)
const IDS = ['n1', 'n2', 'n3', 'n4'] as const
const THRESHOLD = 2
const CONTEXT = `${RING} n4`
const fabrics: Fabric[] = []
after(() => Promise.all(fabrics.map((fabric) => fabric.stop())))

const MEASURED = { configuration: 'c'.repeat(64), program: 'd'.repeat(64) }
type Tpm = { quote: string; signature: string; pcrs: string[] } | null
const quoteOf = (nonce: string) => ({ quote: Buffer.from(`ak ${nonce}`).toString('base64url'), signature: 'AA', pcrs: [] })

/** n4 as it attested while it ran. */
function trustOf(kind: 'software' | 'tpm'): Trust {
  const { configuration, program } = MEASURED
  const pcrs = kind === 'tpm' ? 'e'.repeat(64) : null
  const times = { atMs: 1, outAtMs: 2, saidMs: 1, staleAtMs: 2, untilMs: 2 }
  const measured = { configuration, held: { pcrs, program }, pcrs, program }
  const record = { ak: 'ak', boot: null, clock: null, former: [], kind, node: 'n4', ...times, ...measured }
  return { beacons: [], endorsements: [], expelled: [], nodes: [record], references: [] }
}

interface Holder {
  readonly id: string
  readonly share: KeyShare
  readonly records: OpeningRecord[]
  readonly released: string[]
  readonly answer: (from: string, payload: Uint8Array) => Promise<ReleaseAnswer>
  /** Another share than its own makes its answers. */
  lies: KeyShare | undefined
}

/** n1 to n3 hold the key, any two of them open; n4 has a disk. */
class Ring {
  readonly keys = new Map<string, KeyObject>(IDS.map((id) => [id, generateKeyPairSync('ed25519').privateKey]))
  readonly storageKey = randomBytes(32)
  readonly holders: Holder[] = []
  readonly publicKey: PublicKey
  readonly held: { readonly capsule: string; readonly wrapped: string }
  nodes: readonly RingNode[]
  disks: readonly NodeDisk[]
  wipes: readonly { readonly id: string }[] = []
  isBehind = false
  policy: DevicesPolicy = {
    attestation: { least: 'none', nodes: 'all', disks: true, every: 60_000, absence: 0 },
    est: { ttl: 86_400_000 },
    manufacturers: [],
  }
  trust: Trust = { beacons: [], endorsements: [], expelled: [], nodes: [], references: [] }
  readonly refused: string[] = []
  nowMs: () => number = Date.now
  peers: readonly Peer[] = []

  constructor() {
    const shares = deal()
    this.publicKey = (shares[0] as KeyShare).publicKey
    this.nodes = IDS.map((id) => ({
      id,
      region: 'eu',
      address: '127.0.0.1:1',
      publicKey: this.raw(id),
      roles: ['validator'],
    }))
    const machine = machineVerifier(machineFacts(CONTEXT).proof)
    const label = diskLabel({ ring: RING, node: 'n4', publicKey: this.raw('n4'), machine })
    const { capsule, key } = encapsulate(this.publicKey, label, randomBytes(32))
    this.held = { capsule: encodeBase64url(capsule), wrapped: wrapKey(key, this.storageKey, RING_LOCK) }
    this.disks = [{ id: 'n4', capsule: this.held.capsule, machine, atMs: 0 }]
    for (const [at, id] of ['n1', 'n2', 'n3'].entries()) this.#add(id, shares[at] as KeyShare)
  }

  raw(id: string): string {
    return encodeBase64url(rawPublicKey(this.keys.get(id) as KeyObject))
  }

  #add(id: string, share: KeyShare): void {
    const records: OpeningRecord[] = []
    const released: string[] = []
    const holder = { id, share, records, released, lies: undefined as KeyShare | undefined }
    const releases = new ReleaseHolder({
      self: id,
      ring: RING,
      fabric: { onRequest: () => {} },
      state: () =>
        ({
          node: (name: string) => this.nodes.find((node) => node.id === name),
          disks: { sealed: this.disks, wipes: this.wipes },
          enrolment: { trust: this.trust, deviceOfNode: () => undefined },
          fleet: { devices: [], nodes: [], releases: [] },
        }) as unknown as RingState,
      isBehind: () => this.isBehind,
      vault: {
        prove: async (capsule) => {
          const used = holder.lies ?? share
          const { publicKey } = used
          const of = holder.lies === undefined ? capsule : lyingCapsule(publicKey)
          return { publicKey, index: publicKey.indexOf(id) as number, partial: makePartial(used, verifyCapsule(publicKey, of)) }
        },
      },
      openings: { add: async (record) => void records.push(record) },
      sign: (message) => signMessage(this.keys.get(id) as KeyObject, message),
      policy: () => this.policy,
      // A quote here is what it is made over.
      quote: (tpm, ak, nonce) =>
        Buffer.from(tpm.quote, 'base64url').toString() === `${ak} ${nonce}`
          ? { ok: true, pcrs: 'e'.repeat(64), clock: { resetCount: 1, clockMs: 1 } }
          : { ok: false, code: 'QUOTE_NONCE', reason: 'another nonce' },
      onRelease: (node) => released.push(node),
      onRefusal: (node, code) => this.refused.push(`${node} ${code}`),
      now: () => this.nowMs(),
    })
    this.holders.push(Object.assign(holder, { answer: (from: string, payload: Uint8Array) => releases.answer(from, payload) }))
  }

  request(changes: Partial<ReleaseRequest> = {}, by = 'n4', tpmOf: (request: ReleaseRequest) => Tpm = () => null): Uint8Array {
    const request: ReleaseRequest = {
      ring: RING,
      node: 'n4',
      capsule: hash('sha256', decodeBase64url(this.held.capsule), 'base64url'),
      proof: encodeBase64url(machineFacts(CONTEXT).proof),
      atMs: Date.now(),
      nonce: randomBytes(16).toString('base64url'),
      replyTo: new ReplyKey().replyTo,
      attested: null,
      ...changes,
    }
    const signature = signMessage(this.keys.get(by) as KeyObject, releaseSigningBytes(request))
    return Buffer.from(JSON.stringify({ request, signature: encodeBase64url(signature), tpm: tpmOf(request) }))
  }

  /** By the first holder. */
  async codeOf(payload: Uint8Array, from = 'n4'): Promise<string> {
    const answer = await (this.holders[0] as Holder).answer(from, payload)
    return 'code' in answer ? answer.code : 'ok'
  }

  /** Real links: holders listen, and know the others but those in `unknown`. */
  async link(unknown: readonly string[] = []): Promise<void> {
    const ports = await Promise.all(IDS.map(() => freePort()))
    this.peers = IDS.map((id, at) => ({
      id,
      region: 'eu',
      host: '127.0.0.1',
      port: ports[at] as number,
      publicKey: decodeBase64url(this.raw(id)),
    }))
    for (const { id, answer } of this.holders) {
      const fabric = createFabric({
        ring: RING,
        self: this.peers.find((peer) => peer.id === id) as Peer,
        privateKey: this.keys.get(id) as KeyObject,
        peers: this.peers.filter((peer) => peer.id !== id && !unknown.includes(peer.id)),
      })
      fabric.onRequest('disk', async (from, payload) => Buffer.from(JSON.stringify(await answer(from, payload))))
      fabrics.push(fabric)
      await fabric.start()
    }
  }

  ask(proof = machineFacts(CONTEXT).proof, measured = MEASURED, withTpm = false): Promise<Uint8Array> {
    return askRing({
      ring: RING,
      self: this.peers.find(({ id }) => id === 'n4') as Peer,
      peers: this.peers.filter(({ id }) => id !== 'n4'),
      privateKey: this.keys.get('n4') as KeyObject,
      held: this.held,
      proof,
      prove: { measure: async () => measured, ...(withTpm ? { quote: async (nonce: string) => quoteOf(nonce) } : {}) },
      say: () => {},
    })
  }
}

function deal(threshold = THRESHOLD): readonly KeyShare[] {
  const members = [1, 2, 3].map((index) => ({ party: `n${index}`, index }))
  const coefficients = Array.from({ length: threshold }, () => BigInt(`0x${randomBytes(30).toString('hex')}`))
  return dealTrusted({ suite: 'ristretto255', purpose: 'tests', epoch: 0, threshold, members }, coefficients)
}

const lyingCapsule = (publicKey: PublicKey): Uint8Array => encapsulate(publicKey, Buffer.from('other'), randomBytes(32)).capsule

test('as many holders as it takes open the disk of a node that starts, each on its record', async () => {
  const ring = new Ring()
  await ring.link()
  assert.deepEqual(Buffer.from(await ring.ask()), ring.storageKey)
  const records = ring.holders.flatMap((holder) => holder.records)
  assert.ok(records.length >= THRESHOLD)
  assert.deepEqual([records[0]?.issuer, records[0]?.secrets], ['node:n4', [['disk:n4', 0]]])
  assert.ok(ring.holders.flatMap(({ released }) => released).every((id) => id === 'n4'))
})

test('a holder that answers with another share, key or capsule keeps nobody from the disk', async () => {
  const ring = new Ring()
  // It says of a key of its own making that it is the ring's, and of another capsule what was not asked for.
  ;(ring.holders[1] as Holder).lies = deal()[1]
  await ring.link()
  assert.deepEqual(Buffer.from(await ring.ask()), ring.storageKey)
  const other = new Ring()
  ;(other.holders[0] as Holder).lies = other.holders[0]?.share
  await other.link()
  assert.deepEqual(Buffer.from(await other.ask()), other.storageKey)
})

test('a node that was wiped, removed or moved is refused for good, and told by whom, why and what to do', async () => {
  const wiped = new Ring()
  wiped.wipes = [{ id: 'n4' }]
  await wiped.link()
  await assert.rejects(wiped.ask(), { code: 'DISK_REFUSED', message: /^DISK_GONE: .*n4 was wiped; .*ringwall node init/ })
  const removed = new Ring()
  await removed.link(['n4'])
  await assert.rejects(removed.ask(), { code: 'DISK_REFUSED', message: /^DISK_GONE: .*know no node with the key of n4/ })
  const moved = new Ring()
  await moved.link()
  await assert.rejects(moved.ask(randomBytes(32)), { code: 'DISK_REFUSED', message: /^DISK_MACHINE: .*another machine/ })
})

test('no more than may lie can have a disk given up: it waits for the others', async () => {
  const ring = new Ring()
  const [first] = ring.holders as [Holder]
  const honest = first.answer
  Object.assign(first, { answer: async () => ({ code: 'DISK_GONE', reason: 'made up' }) })
  ring.isBehind = true
  await ring.link()
  const asked = ring.ask()
  const early = await Promise.race([asked, new Promise((settle) => setTimeout(() => settle('waits'), 1_500))])
  assert.equal(early, 'waits')
  ring.isBehind = false
  assert.deepEqual(Buffer.from(await asked), ring.storageKey)
  assert.notEqual(honest, first.answer)
})

test('a holder answers the node itself, for its newest disk, from its machine, once, and not too often', async () => {
  const ring = new Ring()
  const [{ records }] = ring.holders as [Holder]
  assert.equal(await ring.codeOf(ring.request()), 'ok')
  const once = ring.request()
  assert.equal(await ring.codeOf(once), 'ok')
  assert.equal(await ring.codeOf(once), 'DISK_LATER', 'again')
  const before = records.length
  assert.equal(await ring.codeOf(ring.request(), 'n2'), 'DISK_REQUEST', 'passed on by another node')
  assert.equal(await ring.codeOf(ring.request({}, 'n2')), 'DISK_REQUEST', 'signed by another node')
  assert.equal(await ring.codeOf(ring.request({ ring: 'cd'.repeat(32) })), 'DISK_REQUEST')
  assert.equal(await ring.codeOf(Buffer.from('{}')), 'DISK_REQUEST')
  assert.equal(await ring.codeOf(Buffer.alloc(9_000)), 'DISK_REQUEST')
  assert.equal(await ring.codeOf(ring.request({ atMs: Date.now() - 400_000 })), 'DISK_LATER')
  assert.equal(await ring.codeOf(ring.request({ capsule: encodeBase64url(new Uint8Array(32)) })), 'DISK_UNKNOWN')
  assert.equal(await ring.codeOf(ring.request({ proof: encodeBase64url(new Uint8Array(32)) })), 'DISK_MACHINE')
  ring.disks = []
  assert.equal(await ring.codeOf(ring.request()), 'DISK_UNKNOWN')
  assert.equal(records.length, before, 'nothing of it was opened')
  for (let i = 0; i < 25; i += 1) await ring.codeOf(ring.request())
  assert.equal(await ring.codeOf(ring.request()), 'DISK_LATER')
})

test('a node that is let go while its disk is being opened gets nothing', async () => {
  const ring = new Ring()
  const answer = ring.codeOf(ring.request())
  ring.disks = []
  assert.equal(await answer, 'DISK_GONE')
})

test('where the policy asks for it, a node attests to each holder before its disk is opened', async () => {
  for (const least of ['software', 'tpm'] as const) {
    const ring = new Ring()
    ring.policy = { ...ring.policy, attestation: { ...ring.policy.attestation, least } }
    ring.trust = trustOf(least)
    await ring.link()
    assert.deepEqual(Buffer.from(await ring.ask(undefined, MEASURED, least === 'tpm')), ring.storageKey)
    assert.deepEqual(ring.refused, [])
  }
})

test('a node whose program was changed, or that shows an older proof, or a weaker one, has its disk stay shut', async () => {
  const ring = new Ring()
  ring.policy = { ...ring.policy, attestation: { ...ring.policy.attestation, least: 'tpm' } }
  ring.trust = trustOf('tpm')
  const [{ answer, records }] = ring.holders as [Holder]
  const challenge = async (): Promise<string> => {
    const given = await answer('n4', ring.request())
    assert.ok('code' in given && given.code === 'DISK_ATTEST' && given.challenge !== undefined)
    return given.challenge
  }
  const said = async (payload: Uint8Array): Promise<string> => {
    const given = await answer('n4', payload)
    return 'code' in given ? `${given.code} ${given.reason.split(':')[0]}` : 'ok'
  }
  const good = (request: ReleaseRequest) => quoteOf(releaseNonce(request))
  const once = await challenge()
  assert.equal(await said(ring.request({ attested: { challenge: once, measured: MEASURED } }, 'n4', good)), 'ok')
  const again = ring.request({ attested: { challenge: once, measured: MEASURED } }, 'n4', good)
  assert.match(await said(again), /^DISK_ATTEST/, 'a challenge serves once')
  const attested = async (measured = MEASURED) => ({ attested: { challenge: await challenge(), measured } })
  const changed = { ...MEASURED, program: 'f'.repeat(64) }
  assert.equal(await said(ring.request(await attested(changed), 'n4', good)), 'DISK_UNTRUSTED PROGRAM_CHANGED')
  assert.equal(await said(ring.request(await attested())), 'DISK_UNTRUSTED ATTESTATION_TOO_WEAK')
  const old = () => quoteOf('ab'.repeat(32))
  assert.equal(await said(ring.request(await attested(), 'n4', old)), 'DISK_UNTRUSTED QUOTE_NONCE')
  const late = await challenge()
  ring.nowMs = () => Date.now() + 31_000
  assert.match(await said(ring.request({ attested: { challenge: late, measured: MEASURED } }, 'n4', good)), /^DISK_ATTEST/)
  assert.equal(records.length, 1, 'nothing else was opened')
  assert.deepEqual(ring.refused, ['n4 PROGRAM_CHANGED'], 'told once a minute')
})

test('a machine is known by what the system tells of it: another fact, or none, is another machine', () => {
  const read = (facts: Record<string, string>) => machineFacts('ring n1', (path) => facts[path])
  const a = read({ '/etc/machine-id': 'one' })
  assert.deepEqual(a.facts, ['/etc/machine-id'])
  const all = [a, read({ '/etc/machine-id': 'two' }), read({}), read({ '/sys/class/dmi/id/product_uuid': 'one' })]
  assert.equal(new Set(all.map(({ proof }) => machineVerifier(proof))).size, 4)
  assert.equal(machineVerifier(a.proof), machineVerifier(read({ '/etc/machine-id': 'one' }).proof))
})
