/**
 * Who may become a node without being added by name: invitations (a key that serves once) and devices (a key that a manufacturer
 * vouches for). Part of the state; immutable.
 */
import { type Expelled, isNoTrust, NO_TRUST, type Trust, trustHash, withExpelled } from './attestation.ts'
import { encodeUtf8 } from './encoding.ts'
import { type EstClients, estHash, NO_EST_CLIENTS } from './est.ts'
import { MerkleTrie } from './merkle-trie.ts'
import { portableSha256, type Sha256 } from './tx.ts'
import type { RingNode } from './types.ts'

/** Invitations at a time, those that are over and not yet forgotten included. */
export const INVITATIONS_MAX = 256
export const INVITATION_TTL_MS_MAX = 86_400_000
/** How long one that is over is remembered, so that who comes late hears why. */
export const INVITATION_REMEMBERED_MS = 3_600_000
/** Over the life of a ring: one that was removed is remembered, too. */
export const DEVICES_MAX = 10_000

export interface Invitation {
  /** Public half of the one-time key: raw Ed25519, base64url. */
  readonly key: string
  /** `operator:NAME`. */
  readonly by: string
  readonly expiresAtMs: number
  /** The only one that it may stand in; null: any. */
  readonly region: string | null
  /** What it may become, at most. */
  readonly roles: RingNode['roles']
  /** The node that it let in. */
  readonly used: { readonly node: string; readonly atMs: number } | null
}

export const DEVICE_STATUSES = ['registered', 'joined', 'expelled', 'removed', 'transferred'] as const
export type DeviceStatus = (typeof DEVICE_STATUSES)[number]

export interface Device {
  readonly serial: string
  /** That it was made with: raw Ed25519, base64url. */
  readonly key: string
  /** As the policy names it. */
  readonly manufacturer: string
  /** SHA-256 of the public area of its TPM's endorsement key: lower-case hex; null: it has none. */
  readonly ek: string | null
  /** SHA-256 of the newest entry of its chain of owners: lower-case hex. */
  readonly head: string
  /** Unix milliseconds; null: its voucher does not expire. */
  readonly expiresAtMs: number | null
  readonly region: string | null
  readonly roles: RingNode['roles']
  readonly by: string
  readonly registeredAtMs: number
  readonly status: DeviceStatus
  /** The node that it is, or was. */
  readonly node: string | null
}

/** What of it goes into a snapshot. */
export interface EnrolmentContents {
  /** In the order of their keys. */
  readonly invitations: readonly Invitation[]
  /** In the order of their serial numbers. */
  readonly devices: readonly Device[]
  readonly trust: Trust
  readonly est: EstClients
}

export interface EnrolmentRoots {
  readonly invitations: string
  readonly devices: string
  readonly trust: string
  readonly est: string
}

const nameKey = (name: string): string => portableSha256(encodeUtf8(name))
const forgottenAtMs = ({ expiresAtMs }: Invitation): number => expiresAtMs + INVITATION_REMEMBERED_MS

interface Parts {
  /** By the hash of the key, and of the serial number. */
  readonly invitations: MerkleTrie<Invitation>
  readonly devices: MerkleTrie<Device>
  /** Serial numbers, by the hash of the device's key; and of its node's id. */
  readonly byKey: MerkleTrie<string>
  readonly byNode: MerkleTrie<string>
  readonly trust: Trust
  readonly est: EstClients
}

export class Enrolment {
  static readonly empty: Enrolment = new Enrolment({
    invitations: MerkleTrie.empty(),
    devices: MerkleTrie.empty(),
    byKey: MerkleTrie.empty(),
    byNode: MerkleTrie.empty(),
    trust: NO_TRUST,
    est: NO_EST_CLIENTS,
  })
  readonly #parts: Parts
  #nextMs: number | undefined
  #guests: { readonly untilMs: number; readonly devices: boolean } | undefined

  private constructor(parts: Parts) {
    this.#parts = parts
  }

  /** From contents that are known to be well formed. */
  static from({ invitations, devices, trust, est }: EnrolmentContents): Enrolment {
    if (invitations.length + devices.length + est.clients.length + est.secrets.length === 0 && isNoTrust(trust))
      return Enrolment.empty
    return new Enrolment({
      invitations: MerkleTrie.from(invitations.map((one) => [nameKey(one.key), one])),
      devices: MerkleTrie.from(devices.map((one) => [nameKey(one.serial), one])),
      byKey: MerkleTrie.from(devices.map(({ key, serial }) => [nameKey(key), serial])),
      byNode: MerkleTrie.from(devices.flatMap(({ node, serial }) => (node === null ? [] : [[nameKey(node), serial] as const]))),
      trust,
      est,
    })
  }

  get isEmpty(): boolean {
    const { invitations, devices, est } = this.#parts
    return invitations.size + devices.size + est.clients.length + est.secrets.length === 0 && isNoTrust(this.trust)
  }

  /** What is known of measured states. */
  get trust(): Trust {
    return this.#parts.trust
  }

  /** Who has certificates, and may have one. */
  get est(): EstClients {
    return this.#parts.est
  }

  get invitationCount(): number {
    return this.#parts.invitations.size
  }

  get deviceCount(): number {
    return this.#parts.devices.size
  }

  /** Those that are over are undefined once they would be forgotten: how much was swept must not show. */
  invitation(key: string, nowMs: number): Invitation | undefined {
    const found = this.#parts.invitations.get(nameKey(key))
    return found !== undefined && forgottenAtMs(found) > nowMs ? found : undefined
  }

  device(serial: string): Device | undefined {
    return this.#parts.devices.get(nameKey(serial))
  }

  deviceWithKey(key: string): Device | undefined {
    const serial = this.#parts.byKey.get(nameKey(key))
    return serial === undefined ? undefined : this.device(serial)
  }

  /** The device that a node is, or was. */
  deviceOfNode(node: string): Device | undefined {
    const serial = this.#parts.byNode.get(nameKey(node))
    return serial === undefined ? undefined : this.device(serial)
  }

  /** In the order of their keys. */
  invitations(): readonly Invitation[] {
    return [...this.#parts.invitations.entries()].map(([, one]) => one).sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  /** In the order of their serial numbers. */
  devices(): readonly Device[] {
    return [...this.#parts.devices.entries()].map(([, one]) => one).sort((a, b) => (a.serial < b.serial ? -1 : 1))
  }

  /** May somebody who is no node of the ring have something to say to it? */
  expectsGuests(nowMs: number): boolean {
    this.#guests ??= {
      untilMs: Math.max(0, ...this.invitations().flatMap(({ used, expiresAtMs }) => (used === null ? [expiresAtMs] : []))),
      devices: this.devices().some(({ status }) => status === 'registered'),
    }
    return this.#guests.devices || this.#guests.untilMs > nowMs
  }

  /** Adds, or replaces that of the same key. */
  withInvitation(invitation: Invitation): Enrolment {
    return this.#with({ invitations: this.#parts.invitations.set(nameKey(invitation.key), invitation) })
  }

  /** Adds, or replaces that of the same serial number: its key never changes. */
  withDevice(device: Device): Enrolment {
    const { devices, byKey, byNode } = this.#parts
    const { serial, key, node } = device
    return this.#with({
      devices: devices.set(nameKey(serial), device),
      byKey: byKey.set(nameKey(key), serial),
      byNode: node === null ? byNode : byNode.set(nameKey(node), serial),
    })
  }

  withTrust(trust: Trust): Enrolment {
    return trust === this.trust ? this : this.#with({ trust })
  }

  withEst(est: EstClients): Enrolment {
    return this.#with({ est })
  }

  /** The ring puts a node out by itself: its device comes back when an operator has looked at it. */
  withExpelled(expelled: Expelled): Enrolment {
    const next = this.withTrust(withExpelled(this.trust, expelled))
    const device = this.deviceOfNode(expelled.node)
    return device?.status === 'joined' ? next.withDevice({ ...device, status: 'expelled' }) : next
  }

  /** Lets go of invitations that are over for long. */
  swept(nowMs: number): Enrolment {
    if (nowMs < this.#forgetsAtMs()) return this
    let { invitations } = this.#parts
    for (const one of this.invitations()) if (forgottenAtMs(one) <= nowMs) invitations = invitations.delete(nameKey(one.key))
    return this.#with({ invitations })
  }

  #forgetsAtMs(): number {
    this.#nextMs ??= Math.min(...this.invitations().map(forgottenAtMs))
    return this.#nextMs
  }

  root(hash?: Sha256): EnrolmentRoots {
    return {
      devices: this.#parts.devices.root(hash),
      invitations: this.#parts.invitations.root(hash),
      trust: trustHash(this.trust),
      est: estHash(this.est),
    }
  }

  contents(): EnrolmentContents {
    return { invitations: this.invitations(), devices: this.devices(), trust: this.trust, est: this.est }
  }

  #with(changed: Partial<Parts>): Enrolment {
    return new Enrolment({ ...this.#parts, ...changed })
  }
}
