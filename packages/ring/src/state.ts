/**
 * The ring's state: what the ledger's transactions add up to. Immutable; a change shares all that did not change, so
 * that a block costs in proportion to itself.
 *
 * Its root commits to everything that decides later blocks: policy, nodes, denials, statements that wait for other nodes or
 * operators, transactions already seen, quotas used.
 */
import { type PendingStatement, PendingStatements } from './approvals.ts'
import { canonicalJson } from './canonical-json.ts'
import { type PendingDenial, PendingDenials } from './corroboration.ts'
import { DenialLookup, DenialSlots, type HashSeed } from './denial-index.ts'
import { encodeUtf8 } from './encoding.ts'
import { Enrolment, type EnrolmentContents, type EnrolmentRoots } from './enrolment.ts'
import { type Fleet, hashOfFleet, NO_FLEET, withoutFleetNode } from './fleet.ts'
import { hashOfLeases, type Leases, NO_LEASES } from './leases.ts'
import { type MerkleProof, MerkleTrie } from './merkle-trie.ts'
import { hashOfDisks, NO_DISKS, type NodeDisks, withoutDisk } from './node-disks.ts'
import { type ObjectsContents, VaultObjects } from './objects.ts'
import { People, type Person } from './people.ts'
import { type Play, Plays } from './plays.ts'
import { type KeyName, NO_RING_KEY, type RingKey } from './ring-key.ts'
import { timeKey } from './time-key.ts'
import { hashOfTransit, NO_TRANSIT_KEYS, type TransitKeys } from './transit-keys.ts'
import { portableSha256, type Sha256 } from './tx.ts'
import type { Denial, RingNode, TxId } from './types.ts'
import { type SecretContents, VaultSecrets } from './vault-secrets.ts'

/** Denials that a ring holds at most, expired ones not yet swept included. */
export const DENIALS_MAX = 250_000
/** What one block sweeps beyond twice its transactions. */
const SWEEP_MAX = 1_000
const STATE_DOMAIN = 'RINGWALL_STATE_V6\n'

/** One slot of quota time: quotas slide by slots of 5 minutes. */
const SLOT_MS = 300_000
const SLOTS_PER_HOUR = 12

/** Denials that an issuer proposed, by slot of 5 minutes; oldest first, at most 13. */
type Usage = readonly (readonly [slot: number, count: number])[]

/** A node that is gone: neither its id nor its key may come back. */
export interface RetiredNode {
  readonly id: string
  readonly publicKey: string
}

interface Fields {
  readonly policyText: string
  readonly policyVersion: number
  readonly nodes: readonly RingNode[]
  readonly retired: readonly RetiredNode[]
  readonly epoch: number
  /** By denial id. */
  readonly denials: MerkleTrie<Denial>
  /** Denials by when they expire, then id: what to sweep next. */
  readonly expiries: MerkleTrie<Denial>
  /** Where the denials are found by what they are about. */
  readonly slots: DenialSlots
  /** What single nodes say, until enough say the same. */
  readonly pending: PendingDenials
  /** What operators proposed, until enough have approved it. */
  readonly approvals: PendingStatements
  /** Transactions by when they lapse, then id; until then a second one is a replay. */
  readonly seen: MerkleTrie<1>
  readonly usage: ReadonlyMap<string, Usage>
  readonly signingKey: RingKey
  readonly sealingKey: RingKey
  readonly vault: VaultSecrets
  readonly transit: TransitKeys
  readonly leases: Leases
  readonly objects: VaultObjects
  readonly plays: Plays
  readonly enrolment: Enrolment
  readonly people: People
  readonly disks: NodeDisks
  readonly fleet: Fleet
}

/** What of a state goes into a snapshot. */
export interface StateContents {
  readonly policyText: string
  readonly policyVersion: number
  readonly nodes: readonly RingNode[]
  readonly retired: readonly RetiredNode[]
  readonly epoch: number
  readonly signingKey: RingKey
  readonly sealingKey: RingKey
  /** Absent: none. */
  readonly disks?: NodeDisks | undefined
  /** Absent: none. */
  readonly transit?: TransitKeys | undefined
  /** Absent: none. */
  readonly leases?: Leases | undefined
  /** Absent: none. */
  readonly fleet?: Fleet | undefined
  readonly denials: readonly Denial[]
  /** In order of id. */
  readonly pending: readonly PendingDenial[]
  /** In order of id. */
  readonly approvals: readonly PendingStatement[]
  /** In order of name. */
  readonly vault: readonly SecretContents[]
  readonly objects: ObjectsContents
  readonly enrolment: EnrolmentContents
  /** In order of name. */
  readonly people: readonly Person[]
  /** In order of id. */
  readonly plays: readonly Play[]
  /** Until when, and id. */
  readonly seen: readonly (readonly [untilMs: number, id: TxId])[]
  readonly usage: readonly (readonly [issuer: string, usage: Usage])[]
}

export interface StateParts {
  /** SHA-256 of the policy text. */
  readonly policy: string
  readonly policyVersion: number
  /** SHA-256 of the lists as canonical JSON. */
  readonly nodes: string
  readonly retired: string
  readonly epoch: number
  /** Root of the denials by id. */
  readonly denials: string
  /** Root of what nodes say, by denial id. */
  readonly pending: string
  /** Root of what waits for operators, by transaction id. */
  readonly approvals: string
  readonly seen: string
  readonly usage: readonly (readonly [issuer: string, usage: Usage])[]
  /** SHA-256 of what is known of the keys, as canonical JSON. */
  readonly signingKey: string
  readonly sealingKey: string
  /** Roots of what is known of secrets, and of their sealed bytes. */
  readonly vault: { readonly secrets: string; readonly bodies: string }
  /** Roots of buckets, objects and access keys; absent while there are none. */
  readonly objects?: { readonly accessKeys: string; readonly buckets: string; readonly objects: string }
  /** Roots of invitations and devices; absent while there are none. */
  readonly enrolment?: EnrolmentRoots
  /** Root of the people, by name. */
  readonly people: string
  /** SHA-256 of what is known of disks, as canonical JSON; absent while there is nothing. */
  readonly disks?: string
  /** Root of the runs of playbooks, by id; absent while there are none. */
  readonly plays?: string
  /** SHA-256 of the keys of the transit, as canonical JSON; absent while there are none. */
  readonly transit?: string
  /** Likewise, of leases. */
  readonly leases?: string
  /** Likewise, of labels, holds, releases and updates. */
  readonly fleet?: string
}

/** The commitment to a state, from its parts: lower-case hex. */
export function stateRoot(parts: StateParts, hash: Sha256 = portableSha256): string {
  return hash(encodeUtf8(STATE_DOMAIN + canonicalJson(parts)))
}

/** As in `StateParts.policy`. */
export function policyHash(policyText: string): string {
  return portableSha256(encodeUtf8(policyText))
}

/** Of the policy that was hashed last: it is part of every state, and seldom changes. */
let policyHashed = { text: '', hash: portableSha256(encodeUtf8('')) }

function hashOfPolicy(text: string, hash: Sha256 = portableSha256): string {
  if (policyHashed.text !== text) policyHashed = { text, hash: hash(encodeUtf8(text)) }
  return policyHashed.hash
}

export class RingState {
  readonly #fields: Fields
  readonly #isDraft: boolean
  #root: string | undefined
  #lookup: DenialLookup | undefined

  private constructor(fields: Fields, isDraft = false) {
    this.#fields = fields
    this.#isDraft = isDraft
  }

  /** @param seed Of the index of the denials: unknown to others. It changes nothing that nodes agree on. */
  static begin(policyText: string, nodes: readonly RingNode[], seed?: HashSeed): RingState {
    return new RingState({
      policyText,
      policyVersion: 1,
      nodes,
      retired: [],
      epoch: 0,
      denials: MerkleTrie.empty(),
      expiries: MerkleTrie.empty(),
      slots: DenialSlots.empty(seed),
      pending: PendingDenials.empty,
      approvals: PendingStatements.empty,
      seen: MerkleTrie.empty(),
      usage: new Map(),
      signingKey: NO_RING_KEY,
      sealingKey: NO_RING_KEY,
      vault: VaultSecrets.empty,
      transit: NO_TRANSIT_KEYS,
      leases: NO_LEASES,
      objects: VaultObjects.empty,
      plays: Plays.empty,
      enrolment: Enrolment.empty,
      people: People.empty,
      disks: NO_DISKS,
      fleet: NO_FLEET,
    })
  }

  /** From contents that are known to be well formed. */
  static from(contents: StateContents, seed?: HashSeed): RingState {
    const { policyText, policyVersion, nodes, retired, epoch, signingKey, sealingKey } = contents
    return new RingState({
      policyText,
      policyVersion,
      nodes,
      retired,
      epoch,
      denials: MerkleTrie.from(contents.denials.map((denial) => [denial.id, denial])),
      expiries: MerkleTrie.from(contents.denials.map((denial) => [timeKey(denial.expiresAtMs, denial.id), denial])),
      slots: DenialSlots.from(contents.denials, seed),
      pending: PendingDenials.from(contents.pending),
      approvals: PendingStatements.from(contents.approvals),
      seen: MerkleTrie.from(contents.seen.map(([untilMs, id]) => [timeKey(untilMs, id), 1])),
      usage: new Map(contents.usage),
      signingKey,
      sealingKey,
      vault: VaultSecrets.from(contents.vault),
      transit: contents.transit ?? NO_TRANSIT_KEYS,
      leases: contents.leases ?? NO_LEASES,
      objects: VaultObjects.from(contents.objects),
      plays: Plays.from(contents.plays),
      enrolment: Enrolment.from(contents.enrolment),
      people: People.from(contents.people),
      disks: contents.disks ?? NO_DISKS,
      fleet: contents.fleet ?? NO_FLEET,
    })
  }

  get policyText(): string {
    return this.#fields.policyText
  }

  /** 1 at genesis, one more with each `policy.set`. */
  get policyVersion(): number {
    return this.#fields.policyVersion
  }

  /** Validators have their indexes by their order here. */
  get nodes(): readonly RingNode[] {
    return this.#fields.nodes
  }

  get retired(): readonly RetiredNode[] {
    return this.#fields.retired
  }

  /** 0 at genesis, one more with each change of the validators. */
  get epoch(): number {
    return this.#fields.epoch
  }

  /** The validators among the nodes: the same list until the nodes change. */
  get validators(): readonly RingNode[] {
    return validatorsAmong(this.nodes)
  }

  get signingKey(): RingKey {
    return this.#fields.signingKey
  }

  get sealingKey(): RingKey {
    return this.#fields.sealingKey
  }

  /** Secrets, sealed. */
  get vault(): VaultSecrets {
    return this.#fields.vault
  }

  /** Keys of the transit. */
  get transit(): TransitKeys {
    return this.#fields.transit
  }

  /** Leases of database users. */
  get leases(): Leases {
    return this.#fields.leases
  }

  /** Buckets, objects and access keys. */
  get objects(): VaultObjects {
    return this.#fields.objects
  }

  /** Invitations and devices. */
  get enrolment(): Enrolment {
    return this.#fields.enrolment
  }

  /** Who may log in. */
  get people(): People {
    return this.#fields.people
  }

  /** Disks that the ring opens, and nodes that were wiped. */
  get disks(): NodeDisks {
    return this.#fields.disks
  }

  /** Labels, holds, releases, and how far nodes are with them. */
  get fleet(): Fleet {
    return this.#fields.fleet
  }

  /** Runs of playbooks. */
  get plays(): Plays {
    return this.#fields.plays
  }

  key(name: KeyName): RingKey {
    return name === 'signing' ? this.signingKey : this.sealingKey
  }

  node(id: string): RingNode | undefined {
    return this.#fields.nodes.find((node) => node.id === id)
  }

  get denials(): DenialLookup {
    if (this.#lookup !== undefined) return this.#lookup
    const { slots, denials } = this.#fields
    const all = function* (): Generator<Denial> {
      for (const [, denial] of denials.entries()) yield denial
    }
    const lookup = new DenialLookup(slots, { get: (id) => denials.get(id), all })
    // The parts of a draft may be others after its next change.
    if (!this.#isDraft) this.#lookup = lookup
    return lookup
  }

  denial(id: string): Denial | undefined {
    return this.#fields.denials.get(id)
  }

  /** What nodes say, and not enough of them yet. */
  get pending(): PendingDenials {
    return this.#fields.pending
  }

  /** What operators proposed and too few approved yet. */
  get approvals(): PendingStatements {
    return this.#fields.approvals
  }

  /** `key` is the `timeKey` of when the transaction lapses and its id. */
  hasSeen(key: string): boolean {
    return this.#fields.seen.get(key) !== undefined
  }

  /** Denials that the issuer proposed in the last hour; a slot that the hour touches counts whole. */
  usedInHour(issuer: string, nowMs: number): number {
    const since = Math.floor(nowMs / SLOT_MS) - SLOTS_PER_HOUR
    const usage = this.#fields.usage.get(issuer) ?? []
    return usage.reduce((sum, [slot, count]) => (slot >= since ? sum + count : sum), 0)
  }

  withPolicy(policyText: string): RingState {
    const approvals = this.#fields.approvals.withoutPolicies()
    return this.#with({ policyText, policyVersion: this.policyVersion + 1, approvals })
  }

  withNode(node: RingNode): RingState {
    const epoch = this.epoch + (isValidator(node) ? 1 : 0)
    return this.#with({ nodes: [...this.nodes, node], epoch })
  }

  withoutNode(id: string): RingState {
    const node = this.node(id)
    if (node === undefined) return this
    return this.#with({
      nodes: this.nodes.filter((held) => held !== node),
      retired: [...this.retired, { id, publicKey: node.publicKey }],
      disks: withoutDisk(this.#fields.disks, id),
      fleet: withoutFleetNode(this.#fields.fleet, id),
      epoch: this.epoch + (isValidator(node) ? 1 : 0),
    })
  }

  /** Replaces the denial of the same id. */
  withDenial(denial: Denial): RingState {
    const { denials, expiries, slots } = this.#fields
    const before = denials.get(denial.id)
    const cleared = before === undefined ? expiries : expiries.delete(timeKey(before.expiresAtMs, before.id))
    return this.#with({
      denials: denials.set(denial.id, denial),
      expiries: cleared.set(timeKey(denial.expiresAtMs, denial.id), denial),
      slots: slots.with(denial),
    })
  }

  withoutDenial(id: string): RingState {
    const { denials, expiries, slots } = this.#fields
    const before = denials.get(id)
    if (before === undefined) return this
    return this.#with({
      denials: denials.delete(id),
      expiries: expiries.delete(timeKey(before.expiresAtMs, id)),
      slots: slots.without(before.subject, id),
    })
  }

  withPending(pending: PendingDenials): RingState {
    return pending === this.#fields.pending ? this : this.#with({ pending })
  }

  withApprovals(approvals: PendingStatements): RingState {
    return approvals === this.#fields.approvals ? this : this.#with({ approvals })
  }

  withKey(name: KeyName, key: RingKey): RingState {
    if (key === this.key(name)) return this
    return this.#with(name === 'signing' ? { signingKey: key } : { sealingKey: key })
  }

  withVault(vault: VaultSecrets): RingState {
    return vault === this.#fields.vault ? this : this.#with({ vault })
  }

  withPlays(plays: Plays): RingState {
    return plays === this.#fields.plays ? this : this.#with({ plays })
  }

  withTransit(transit: TransitKeys): RingState {
    return transit === this.#fields.transit ? this : this.#with({ transit })
  }

  withLeases(leases: Leases): RingState {
    return leases === this.#fields.leases ? this : this.#with({ leases })
  }

  withObjects(objects: VaultObjects): RingState {
    return objects === this.#fields.objects ? this : this.#with({ objects })
  }

  withEnrolment(enrolment: Enrolment): RingState {
    return enrolment === this.#fields.enrolment ? this : this.#with({ enrolment })
  }

  withPeople(people: People): RingState {
    return people === this.#fields.people ? this : this.#with({ people })
  }

  withDisks(disks: NodeDisks): RingState {
    return disks === this.#fields.disks ? this : this.#with({ disks })
  }

  withFleet(fleet: Fleet): RingState {
    return fleet === this.#fields.fleet ? this : this.#with({ fleet })
  }

  /** `key` as for `hasSeen`. */
  withSeen(key: string): RingState {
    return this.#with({ seen: this.#fields.seen.set(key, 1) })
  }

  withUsage(issuer: string, nowMs: number): RingState {
    const slot = Math.floor(nowMs / SLOT_MS)
    const recent = (this.#fields.usage.get(issuer) ?? []).filter(([held]) => held >= slot - SLOTS_PER_HOUR)
    const own = recent.find(([held]) => held === slot)?.[1] ?? 0
    const others = recent.filter(([held]) => held !== slot)
    const next: Usage = [...others, [slot, own + 1] as const].sort(([a], [b]) => a - b)
    // Few: only issuers in genesis come this far.
    return this.#with({ usage: new Map(this.#fields.usage).set(issuer, next) })
  }

  /** Lets go of what time has ended: oldest first, a bounded number a block. */
  swept(nowMs: number, txCount: number): RingState {
    const most = SWEEP_MAX + 2 * txCount
    const held = this.#fields
    let [denials, expiries, slots, seen] = [held.denials.draft(), held.expiries.draft(), held.slots.draft(), held.seen.draft()]
    let isChanged = false
    for (let done = 0; done < most; done += 1) {
      const next = expiries.first()
      if (next === undefined || next[1].expiresAtMs > nowMs) break
      const [key, denial] = next
      expiries = expiries.delete(key)
      denials = denials.delete(denial.id)
      slots = slots.without(denial.subject, denial.id)
      isChanged = true
    }
    const before = timeKey(nowMs, '')
    for (let done = 0; done < most; done += 1) {
      const next = seen.first()
      if (next === undefined || next[0] >= before) break
      seen = seen.delete(next[0])
      isChanged = true
    }
    const swept = isChanged ? this.#with({ denials, expiries, slots, seen }).sealed() : this
    return swept
      .withPending(held.pending.swept(nowMs, most))
      .withApprovals(held.approvals.swept(nowMs))
      .withVault(held.vault.swept(nowMs, most))
      .withEnrolment(held.enrolment.swept(nowMs))
  }

  /**
   * For many changes in a row: each changes this one state in place, which shares with the one that it was made from all that
   * did not change. It is to be `sealed` before anything but the next change looks at it.
   */
  drafted(): RingState {
    const { denials, expiries, slots, seen } = this.#fields
    const drafts = { denials: denials.draft(), expiries: expiries.draft(), slots: slots.draft(), seen: seen.draft() }
    return new RingState({ ...this.#fields, ...drafts }, true)
  }

  /** What began with `drafted`, never to change again. */
  sealed(): RingState {
    const { denials, expiries, slots, seen } = this.#fields
    const sealed = { denials: denials.sealed(), expiries: expiries.sealed(), slots: slots.sealed(), seen: seen.sealed() }
    return new RingState({ ...this.#fields, ...sealed })
  }

  /** Has it let go of all that time has ended? */
  isSwept(nowMs: number): boolean {
    const { expiries, seen, pending, approvals, vault, enrolment } = this.#fields
    if (enrolment.swept(nowMs) !== enrolment) return false
    const [next, seenNext] = [expiries.first(), seen.first()]
    if (next !== undefined && next[1].expiresAtMs <= nowMs) return false
    if (seenNext !== undefined && seenNext[0] < timeKey(nowMs, '')) return false
    return pending.swept(nowMs, 1) === pending && approvals.swept(nowMs) === approvals && vault.swept(nowMs, 1) === vault
  }

  /** Lower-case hex. Computed once a state; unchanged parts keep their hashes. By the portable hash unless given another. */
  root(hash?: Sha256): string {
    this.#root ??= stateRoot(this.parts(hash), hash)
    return this.#root
  }

  /** What the root is made of: short texts, numbers and the roots of the large parts. */
  parts(hash?: Sha256): StateParts {
    const fields = this.#fields
    const disks = hashOfDisks(fields.disks)
    const transit = hashOfTransit(fields.transit)
    const leases = hashOfLeases(fields.leases)
    const fleet = hashOfFleet(fields.fleet)
    return {
      ...(disks === undefined ? {} : { disks }),
      ...(transit === undefined ? {} : { transit }),
      ...(leases === undefined ? {} : { leases }),
      ...(fleet === undefined ? {} : { fleet }),
      ...(fields.plays.size === 0 ? {} : { plays: fields.plays.root(hash) }),
      policy: hashOfPolicy(fields.policyText, hash),
      policyVersion: fields.policyVersion,
      nodes: hashOfList(fields.nodes),
      retired: hashOfList(fields.retired),
      epoch: fields.epoch,
      denials: fields.denials.root(hash),
      pending: fields.pending.root(hash),
      approvals: fields.approvals.root(hash),
      seen: fields.seen.root(hash),
      usage: sortedUsage(fields.usage),
      signingKey: hashOfKey(fields.signingKey),
      sealingKey: hashOfKey(fields.sealingKey),
      vault: fields.vault.root(hash),
      ...(fields.objects.isEmpty ? {} : { objects: fields.objects.root(hash) }),
      ...(fields.enrolment.isEmpty ? {} : { enrolment: fields.enrolment.root(hash) }),
      people: fields.people.root(hash),
    }
  }

  /** That the denial stands in this state; undefined when it does not. */
  proveDenial(id: string): MerkleProof | undefined {
    return this.#fields.denials.prove(id)
  }

  contents(): StateContents {
    const fields = this.#fields
    return {
      ...(hashOfDisks(fields.disks) === undefined ? {} : { disks: fields.disks }),
      ...(fields.transit.length === 0 ? {} : { transit: fields.transit }),
      ...(fields.leases.length === 0 ? {} : { leases: fields.leases }),
      ...(hashOfFleet(fields.fleet) === undefined ? {} : { fleet: fields.fleet }),
      policyText: fields.policyText,
      policyVersion: fields.policyVersion,
      nodes: fields.nodes,
      retired: fields.retired,
      epoch: fields.epoch,
      signingKey: fields.signingKey,
      sealingKey: fields.sealingKey,
      denials: [...fields.denials.entries()].map(([, denial]) => denial),
      pending: fields.pending.contents(),
      approvals: fields.approvals.contents(),
      vault: fields.vault.contents(),
      objects: fields.objects.contents(),
      enrolment: fields.enrolment.contents(),
      people: fields.people.list(),
      plays: fields.plays.list(),
      seen: [...fields.seen.entries()].map(([key]) => [Number.parseInt(key.slice(0, 14), 16), key.slice(14)] as const),
      usage: sortedUsage(fields.usage),
    }
  }

  #with(changed: Partial<Fields>): RingState {
    if (!this.#isDraft) return new RingState({ ...this.#fields, ...changed })
    Object.assign(this.#fields, changed)
    return this
  }
}

function sortedUsage(usage: ReadonlyMap<string, Usage>): (readonly [string, Usage])[] {
  return [...usage].sort(([a], [b]) => (a < b ? -1 : 1))
}

export function isValidator({ roles }: Pick<RingNode, 'roles'>): boolean {
  return roles.includes('validator')
}

const validatorLists = new WeakMap<readonly RingNode[], readonly RingNode[]>()

/** Lists of nodes stay the same objects until they change. */
function validatorsAmong(nodes: readonly RingNode[]): readonly RingNode[] {
  let validators = validatorLists.get(nodes)
  if (validators === undefined) {
    validators = nodes.filter(isValidator)
    validatorLists.set(nodes, validators)
  }
  return validators
}

/** As in `StateParts.nodes`. */
export function nodesHash(nodes: readonly RingNode[]): string {
  return hashOfList(nodes)
}

/** Lists stay the same objects until they change. */
const listHashes = new WeakMap<readonly unknown[], string>()

function hashOfList(list: readonly (RingNode | RetiredNode)[]): string {
  let hash = listHashes.get(list)
  if (hash === undefined) {
    hash = portableSha256(encodeUtf8(canonicalJson(list)))
    listHashes.set(list, hash)
  }
  return hash
}

const keyHashes = new WeakMap<RingKey, string>()

function hashOfKey(key: RingKey): string {
  let hash = keyHashes.get(key)
  if (hash === undefined) {
    hash = portableSha256(encodeUtf8(canonicalJson(key)))
    keyHashes.set(key, hash)
  }
  return hash
}
