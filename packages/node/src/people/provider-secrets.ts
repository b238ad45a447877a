/**
 * What this node shows outside OpenID Providers to be known as the policy's client: from its environment, or from the ring's vault, which it has opened in
 * its own name as `vault.rules` let it. Of the vault a copy is kept for minutes, and only as long as the node's own view says that it is the newest version
 * and that this node may read it: a version that was put, deleted or hidden, and a rule that was taken away, count with the block that says so.
 */
import {
  hasSecret,
  mayUseVault,
  type OpenIdProviderPolicy,
  publicKeyOf,
  type RingState,
  type View,
  vaultSecretOf,
} from '@ringwall/ring'
import { type AskNode, openSecrets, type Reader, VaultError, type VaultFacts } from '@ringwall/vault'
import { OpenRefused } from '../vault/vault-service.ts'

const KEPT_MS = 300_000
/** Holders are not asked again for what failed. */
const AGAIN_MS = 5_000
const SECRET = /^[\x20-\x7e]{1,1024}$/

export type ProviderSecretCode =
  | 'CLIENT_SECRET_MISSING'
  | 'CLIENT_SECRET_REFUSED'
  | 'CLIENT_SECRET_UNREADABLE'
  | 'CLIENT_SECRET_MALFORMED'

/** The node has no secret to show. The message is for operators, says what to do, and nothing of the secret. */
export class ProviderSecretError extends Error {
  override readonly name = 'ProviderSecretError'
  readonly code: ProviderSecretCode
  constructor(code: ProviderSecretCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

export interface ProviderSecretsOptions {
  readonly self: string
  readonly view: () => Pick<View, 'policy'>
  readonly state: () => Pick<RingState, 'vault' | 'sealingKey'>
  readonly facts: () => VaultFacts
  /** This node. */
  readonly reader: Reader
  readonly ask: AskNode
  /** Of the node's environment. */
  readonly variable: (name: string) => string | undefined
  readonly log: (line: string) => void
  /** Unix milliseconds; `Date.now` unless given. */
  readonly now?: () => number
}

interface Kept {
  readonly version: number
  readonly bytes: Buffer
  readonly untilMs: number
}

interface Asked {
  readonly version: number
  readonly atMs: number
  readonly done: Promise<string>
}

export class ProviderSecrets {
  readonly #options: ProviderSecretsOptions
  readonly #now: () => number
  /** By name. Of secrets that the policy names: a bounded number. */
  readonly #kept = new Map<string, Kept>()
  readonly #asked = new Map<string, Asked>()
  readonly #timer: NodeJS.Timeout

  constructor(options: ProviderSecretsOptions) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#timer = setInterval(() => this.sweep(), KEPT_MS / 10)
    this.#timer.unref()
  }

  /** @throws {ProviderSecretError} */
  async of(provider: OpenIdProviderPolicy): Promise<string> {
    const name = vaultSecretOf(provider)
    if (name === undefined) return this.#fromEnvironment(provider)
    this.sweep()
    const version = this.#readable(name)
    return this.#kept.get(name)?.bytes.toString('latin1') ?? this.#opened(name, version)
  }

  /** What the policy asks for and this node has not, a line each: to be told before somebody logs in. */
  review(): readonly string[] {
    return this.#options.view().policy.providers.flatMap((provider) => {
      if (provider.kind !== 'openid' || !hasSecret(provider)) return []
      const name = vaultSecretOf(provider)
      try {
        if (name === undefined) this.#fromEnvironment(provider)
        else this.#readable(name)
        return []
      } catch (error) {
        if (!(error instanceof ProviderSecretError)) throw error
        return [`nobody logs in by ${provider.name} at this node: ${error.code}: ${error.message}`]
      }
    })
  }

  /** Forgets what is kept for too long, and what is not to be read any more. */
  sweep(): void {
    const wanted = new Set(
      this.#options.view().policy.providers.map((one) => (one.kind === 'openid' ? vaultSecretOf(one) : undefined)),
    )
    for (const [name, { version, bytes, untilMs }] of this.#kept) {
      if (wanted.has(name) && untilMs > this.#now() && this.#fault(name) === undefined && this.#newest(name) === version) continue
      bytes.fill(0)
      this.#kept.delete(name)
    }
    for (const [name, { atMs }] of this.#asked) if (!wanted.has(name) || this.#now() - atMs >= AGAIN_MS) this.#asked.delete(name)
  }

  stop(): void {
    clearInterval(this.#timer)
    for (const { bytes } of this.#kept.values()) bytes.fill(0)
    this.#kept.clear()
    this.#asked.clear()
  }

  #fromEnvironment({ authentication: { secretVariable = '' } }: OpenIdProviderPolicy): string {
    const secret = this.#options.variable(secretVariable)
    if (secret !== undefined && secret !== '') return secret
    const message = `this node’s environment has no ${secretVariable}: start it with the client’s secret there`
    throw new ProviderSecretError('CLIENT_SECRET_MISSING', message)
  }

  #newest(name: string): number | undefined {
    return this.#options.state().vault.get(name)?.versions.at(-1)?.version
  }

  /** Its newest version. @throws {ProviderSecretError} */
  #readable(name: string): number {
    const fault = this.#fault(name)
    if (fault !== undefined) throw fault
    return this.#newest(name) as number
  }

  /** By this node's own view; holders look at theirs. */
  #fault(name: string): ProviderSecretError | undefined {
    const { self, view, state } = this.#options
    const { vault, sealingKey } = state()
    if (!mayUseVault(view().policy.vault, { kind: 'node', name: self }, 'read', name)) {
      const message = `no rule of the policy (vault.rules) lets node:${self} read ${name}: add { path: ${name}, read: ["node:*"] }`
      return new ProviderSecretError('CLIENT_SECRET_REFUSED', message)
    }
    const newest = this.#newest(name)
    const put = `put it there: ringwall vault put ${name} < FILE`
    if (newest === undefined) return new ProviderSecretError('CLIENT_SECRET_MISSING', `the vault has no secret ${name}; ${put}`)
    if (vault.body(name, newest, this.#now()) === undefined) {
      const message = `version ${newest} of ${name}, the newest, is deleted, hidden or expired; ${put}`
      return new ProviderSecretError('CLIENT_SECRET_MISSING', message)
    }
    if (publicKeyOf(sealingKey) !== undefined) return undefined
    const message = 'the ring has no sealing key now: ringwall key ls shows how it stands'
    return new ProviderSecretError('CLIENT_SECRET_UNREADABLE', message)
  }

  /** Once for all who ask meanwhile. */
  #opened(name: string, version: number): Promise<string> {
    const running = this.#asked.get(name)
    if (running?.version === version) return running.done
    const atMs = this.#now()
    const done = this.#open(name).then(({ version: opened, text }) => {
      this.#kept.get(name)?.bytes.fill(0)
      this.#kept.set(name, { version: opened, bytes: Buffer.from(text, 'latin1'), untilMs: atMs + KEPT_MS })
      if (this.#asked.get(name)?.version === version) this.#asked.delete(name)
      return text
    })
    this.#asked.set(name, { version, atMs, done })
    return done
  }

  async #open(name: string): Promise<{ readonly version: number; readonly text: string }> {
    const { facts, reader, ask } = this.#options
    let bytes: Buffer
    let version: number
    try {
      const { secrets, liars } = await openSecrets(facts(), reader, [{ name, version: 0 }], [ask])
      if (liars.length > 0) this.#options.log(`holders that answered wrongly when ${name} was opened: ${liars.join(', ')}`)
      const [opened] = secrets
      if (opened === undefined) throw new VaultError('VAULT_SHORT', 'no answer')
      bytes = Buffer.from(opened.secret.buffer, opened.secret.byteOffset, opened.secret.byteLength)
      version = opened.version
    } catch (error) {
      if (!(error instanceof VaultError || error instanceof OpenRefused)) throw error
      const isRefused = error.code === 'OPEN_NOT_ENTITLED' || error.code === 'OPEN_ISSUER'
      const code = isRefused ? 'CLIENT_SECRET_REFUSED' : 'CLIENT_SECRET_UNREADABLE'
      throw new ProviderSecretError(code, `${name} is not opened: ${error.message}`, { cause: error })
    }
    const text = bytes.toString('latin1').replace(/\r?\n$/, '')
    bytes.fill(0)
    if (SECRET.test(text)) return { version, text }
    const message = `version ${version} of ${name} is no client secret: expected one line of 1 to 1,024 printable ASCII characters`
    throw new ProviderSecretError('CLIENT_SECRET_MALFORMED', message)
  }
}
