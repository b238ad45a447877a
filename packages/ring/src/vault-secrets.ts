/**
 * The secrets of the vault as the ledger holds them: what there is of each, and the sealed bytes of versions that may still be opened.
 * Immutable.
 *
 * A version ends once and for all: deleted, expired, or pushed out by newer ones. Its sealed bytes are then no part of the state any more,
 * and holders of the sealing key open nothing that is not part of it. What remains is who put it when, and how it ended.
 */
import { MerkleTrie } from './merkle-trie.ts'
import { timeKey } from './time-key.ts'
import { portableSha256, type Sha256 } from './tx.ts'

/** Names, those whose versions have all ended included. */
export const SECRETS_MAX = 10_000
/** Of one secret, that may be opened. One more pushes the oldest out. */
export const SECRET_VERSIONS_MAX = 10
/** Of one secret, that are remembered. */
export const SECRET_HISTORY_MAX = 32
/** Of all sealed bytes, as they stand in transactions. */
export const VAULT_BYTES_MAX = 67_108_864

export const SECRET_ENDS = ['deleted', 'expired', 'superseded'] as const

export interface SecretEnd {
  /** Unix milliseconds. */
  readonly atMs: number
  readonly why: (typeof SECRET_ENDS)[number]
}

export interface SecretVersion {
  /** From 1; never used twice while the name is known. */
  readonly version: number
  /** Who put it. */
  readonly by: string
  readonly sealedAtMs: number
  /** Unix milliseconds; 0: never. */
  readonly expiresAtMs: number
  /** Null while it may be opened, but for its expiry. */
  readonly end: SecretEnd | null
  /** Nobody opens it until somebody shows it again. Unix milliseconds. */
  readonly hiddenAtMs?: number | undefined
}

export interface Secret {
  readonly name: string
  /** Oldest first; the last is the newest. */
  readonly versions: readonly SecretVersion[]
}

/** Base64url. */
export interface SealedBody {
  readonly capsule: string
  readonly ciphertext: string
}

/** Of a snapshot. `bodies` has those of the versions that have not ended, in their order. */
export interface SecretContents extends Secret {
  readonly bodies: readonly SealedBody[]
}

interface Parts {
  readonly secrets: MerkleTrie<Secret>
  readonly bodies: MerkleTrie<SealedBody>
  /** By when they expire: what to sweep next. */
  readonly expiries: MerkleTrie<readonly [name: string, version: number]>
  readonly bytes: number
}

const nameKey = (name: string): string => portableSha256(new TextEncoder().encode(name))
const bodyKey = (name: string, version: number): string => nameKey(`${name} ${version}`)
const bytesOf = ({ capsule, ciphertext }: SealedBody): number => capsule.length + ciphertext.length

export function isLive({ end, expiresAtMs }: SecretVersion, nowMs: number): boolean {
  return end === null && (expiresAtMs === 0 || expiresAtMs > nowMs)
}

/** Whatever may still be opened, and of the rest the newest. */
function remembered(versions: readonly SecretVersion[]): readonly SecretVersion[] {
  let spare = versions.length - SECRET_HISTORY_MAX
  return versions.filter(({ end }) => {
    if (end === null || spare <= 0) return true
    spare -= 1
    return false
  })
}

export class VaultSecrets {
  static readonly empty: VaultSecrets = new VaultSecrets({
    secrets: MerkleTrie.empty(),
    bodies: MerkleTrie.empty(),
    expiries: MerkleTrie.empty(),
    bytes: 0,
  })
  readonly #parts: Parts

  private constructor(parts: Parts) {
    this.#parts = parts
  }

  /** From contents that are known to be well formed. */
  static from(contents: readonly SecretContents[]): VaultSecrets {
    const live = contents.flatMap(({ name, versions, bodies }) =>
      versions.filter(({ end }) => end === null).map((one, at) => ({ name, ...one, body: bodies[at] as SealedBody })),
    )
    return new VaultSecrets({
      secrets: MerkleTrie.from(contents.map(({ name, versions }) => [nameKey(name), { name, versions }])),
      bodies: MerkleTrie.from(live.map(({ name, version, body }) => [bodyKey(name, version), body])),
      expiries: MerkleTrie.from(
        live
          .filter(({ expiresAtMs }) => expiresAtMs > 0)
          .map(({ name, version, expiresAtMs }) => [timeKey(expiresAtMs, bodyKey(name, version)), [name, version] as const]),
      ),
      bytes: live.reduce((sum, { body }) => sum + bytesOf(body), 0),
    })
  }

  /** Names, those whose versions have all ended included. */
  get size(): number {
    return this.#parts.secrets.size
  }

  /** Versions that have not ended. */
  get sealed(): number {
    return this.#parts.bodies.size
  }

  get bytes(): number {
    return this.#parts.bytes
  }

  get(name: string): Secret | undefined {
    return this.#parts.secrets.get(nameKey(name))
  }

  /** The sealed bytes of a version that may be opened now; undefined for any other. */
  body(name: string, version: number, nowMs: number): SealedBody | undefined {
    const held = this.get(name)?.versions.find((one) => one.version === version)
    return held !== undefined && held.hiddenAtMs === undefined && isLive(held, nowMs)
      ? this.#parts.bodies.get(bodyKey(name, version))
      : undefined
  }

  /** In the order of their names. */
  list(): readonly Secret[] {
    return [...this.#parts.secrets.entries()].map(([, secret]) => secret).sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** Adds a version, the newest of its secret. */
  with(name: string, version: Omit<SecretVersion, 'end'>, body: SealedBody, nowMs: number): VaultSecrets {
    const before = this.get(name)?.versions ?? []
    const open = before.filter(({ end }) => end === null)
    const pushedOut = open.slice(0, Math.max(0, open.length - SECRET_VERSIONS_MAX + 1)).map((one) => one.version)
    const next = this.without(name, pushedOut, { atMs: nowMs, why: 'superseded' })
    const { secrets, bodies, expiries, bytes } = next.#parts
    const versions = [...(next.get(name)?.versions ?? []), { ...version, end: null }]
    const key = bodyKey(name, version.version)
    return new VaultSecrets({
      secrets: secrets.set(nameKey(name), { name, versions: remembered(versions) }),
      bodies: bodies.set(key, body),
      expiries:
        version.expiresAtMs === 0 ? expiries : expiries.set(timeKey(version.expiresAtMs, key), [name, version.version] as const),
      bytes: bytes + bytesOf(body),
    })
  }

  /** Ends versions of a secret: those of them that have not ended. */
  without(name: string, versions: readonly number[], end: SecretEnd): VaultSecrets {
    const secret = this.get(name)
    if (secret === undefined) return this
    const gone = secret.versions.filter((one) => one.end === null && versions.includes(one.version))
    if (gone.length === 0) return this
    let { secrets, bodies, expiries, bytes } = this.#parts
    for (const { version, expiresAtMs } of gone) {
      const key = bodyKey(name, version)
      bytes -= bytesOf(bodies.get(key) as SealedBody)
      bodies = bodies.delete(key)
      if (expiresAtMs > 0) expiries = expiries.delete(timeKey(expiresAtMs, key))
    }
    secrets = secrets.set(nameKey(name), {
      name,
      versions: secret.versions.map((one) => (gone.includes(one) ? { ...one, end } : one)),
    })
    return new VaultSecrets({ secrets, bodies, expiries, bytes })
  }

  /** Hides versions that have not ended, or shows them again. */
  hiding(name: string, versions: readonly number[], hiddenAtMs: number | undefined): VaultSecrets {
    const secret = this.get(name)
    if (secret === undefined) return this
    const changed = secret.versions.map((one) => {
      if (one.end !== null || !versions.includes(one.version)) return one
      const { hiddenAtMs: _before, ...shown } = one
      return hiddenAtMs === undefined ? shown : { ...shown, hiddenAtMs }
    })
    return new VaultSecrets({ ...this.#parts, secrets: this.#parts.secrets.set(nameKey(name), { name, versions: changed }) })
  }

  /** Lets go of what has expired: oldest first, so many at most. */
  swept(nowMs: number, most: number): VaultSecrets {
    let swept: VaultSecrets = this
    for (let done = 0; done < most; done += 1) {
      const next = swept.#parts.expiries.first()
      if (next === undefined || next[0] >= timeKey(nowMs + 1, '')) break
      const [key, [name, version]] = next
      swept = swept.without(name, [version], { atMs: Number.parseInt(key.slice(0, 14), 16), why: 'expired' })
    }
    return swept
  }

  root(hash?: Sha256): { readonly secrets: string; readonly bodies: string } {
    return { secrets: this.#parts.secrets.root(hash), bodies: this.#parts.bodies.root(hash) }
  }

  /** In the order of their names. */
  contents(): readonly SecretContents[] {
    return this.list().map(({ name, versions }) => ({
      name,
      versions,
      bodies: versions
        .filter(({ end }) => end === null)
        .map(({ version }) => this.#parts.bodies.get(bodyKey(name, version)) as SealedBody),
    }))
  }
}
