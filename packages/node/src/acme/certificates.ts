/**
 * Certificates that the node gets for itself, and renews: of each a file, sealed, with the chain and its key, which the listeners follow as
 * any other. Until there is one a placeholder stands in its place, so that the node can start.
 */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { type DiskSeal, makeDirectory, readFileSealed, writeFileSealed } from '@ringwall/store'
import { z } from 'zod'
import type { HostPort } from '../address.ts'
import { StartError } from '../errors.ts'
import type { Seal } from '../signing/sealed-file.ts'
import { AcmeClient, AcmeError, type ChallengeType, type ExternalAccount, type Proof } from './client.ts'
import { DnsProofs } from './dns-proofs.ts'
import { parseTsigKey, type TsigKey } from './dns-update.ts'
import { acmeHttp } from './https.ts'
import { newKey, type Proofs } from './proofs.ts'
import { certificateRequest, isPlaceholder, placeholder, renewalName } from './x509.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
/** After failures in a row; Let's Encrypt counts five of a name in an hour. */
const BACKOFF_MS = [MINUTE_MS / 4, 5 * MINUTE_MS, 20 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS] as const
/** Of the lifetime, where the server does not say when to renew. */
const RENEW_AFTER = 2 / 3
/** Several nodes do not ask at the same moment. */
const JITTER = 0.05
const WAKE_MS_MAX = HOUR_MS
const ASK_MS_MIN = 10 * MINUTE_MS
const ASK_MS_MAX = 24 * HOUR_MS

export interface ManagedCertificate {
  /** At least one; the first names it to people. */
  readonly names: readonly string[]
  readonly file: string
}

export interface AcmeConfig {
  /** URL of the server’s directory. */
  readonly directory: string
  readonly contact: string | undefined
  readonly challenges: readonly ChallengeType[]
  readonly external: { readonly id: string; readonly keyFile: string } | undefined
  /** Where and by which key records are changed, for `dns-01`; the zone is asked for unless named. */
  readonly dns: { readonly server: HostPort; readonly keyFile: string; readonly zone: string | undefined } | undefined
  /** PEM of who vouches for the server. */
  readonly rootsFile: string | undefined
  readonly certificates: readonly ManagedCertificate[]
}

/** Where the certificate for these names is: names or server changed, it is another one. */
export function certificateFile(folder: string, directory: string, names: readonly string[]): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([directory, [...names].sort()]))
    .digest('hex')
  return join(folder, `${names[0]!.replace('*', '_')}-${digest.slice(0, 12)}.pem`)
}

/** What a file is sealed under. */
export const sealName = (file: string): string => `acme/${basename(file)}`

const Account = z.strictObject({ key: z.string(), url: z.string().optional() })
const Waits = z.record(z.string(), z.strictObject({ failures: z.int().min(0), untilMs: z.number(), problem: z.string() }))

interface Managed extends ManagedCertificate {
  /** When it is due, Unix milliseconds. */
  dueMs: number
  /** The server has been asked when to renew, and wants to be asked again then. */
  askAtMs: number
  failures: number
  problem: string | undefined
  timer: NodeJS.Timeout | undefined
}

export interface AcmeStatus {
  readonly names: readonly string[]
  readonly dueMs: number
  readonly failures: number
  readonly problem: string | undefined
}

export interface AcmeOptions {
  readonly config: AcmeConfig
  readonly folder: string
  readonly seal: Seal
  readonly disk?: DiskSeal | undefined
  readonly proofs: Pick<Proofs, 'ready' | 'present' | 'withdraw'>
  readonly say: (level: 'info' | 'warn', line: string) => void
  readonly random?: () => number
}

export class AcmeCertificates {
  readonly #options: AcmeOptions
  readonly #all: readonly Managed[]
  readonly #roots: string | undefined
  readonly #external: ExternalAccount | undefined
  readonly #dnsProofs: DnsProofs | undefined
  readonly #stopping = new AbortController()
  readonly #random: () => number
  /** One order at a time: servers limit them. */
  #turn: Promise<void> = Promise.resolve()
  obtained = 0
  failed = 0

  private constructor(
    options: AcmeOptions,
    roots: string | undefined,
    external: ExternalAccount | undefined,
    dnsKey: TsigKey | undefined,
    waits: z.output<typeof Waits>,
  ) {
    this.#options = options
    this.#roots = roots
    this.#external = external
    const { dns } = options.config
    this.#dnsProofs =
      dns &&
      dnsKey &&
      new DnsProofs({ ...dns, key: dnsKey, stop: this.#stopping.signal, warn: (line) => options.say('warn', line) })
    this.#random = options.random ?? Math.random
    this.#all = options.config.certificates.map(({ names, file }) => {
      const waiting = waits[basename(file)]
      return {
        names,
        file,
        dueMs: waiting?.untilMs ?? 0,
        askAtMs: 0,
        failures: waiting?.failures ?? 0,
        problem: waiting?.problem,
        timer: undefined,
      }
    })
  }

  /** Sees to it that each certificate has its file. @throws {StartError} Naming what is wrong in the configuration. */
  static async open(options: AcmeOptions): Promise<AcmeCertificates> {
    const { config, folder, seal } = options
    await makeDirectory(folder)
    const roots = config.rootsFile === undefined ? undefined : readText(config.rootsFile, 'acme.roots')
    const external = config.external && {
      id: config.external.id,
      key: readText(config.external.keyFile, 'acme.externalAccount.keyFile').trim(),
    }
    if (external !== undefined && !/^[A-Za-z0-9_-]{8,}={0,2}$/.test(external.key))
      throw new StartError('CONFIG_INVALID', `${config.external!.keyFile}: expected the key as the server gave it, base64url`)
    const dnsKey = config.dns && readTsigKey(config.dns.keyFile)
    const opened = new AcmeCertificates(options, roots, external, dnsKey, await readWaits(folder, options.disk))
    for (const one of opened.#all) {
      if ((await opened.#read(one)) !== undefined) continue
      const key = newKey()
      const pem = `${placeholder(one.names, key.object, Date.now())}${key.pem}`
      await seal.write(one.file, sealName(one.file), Buffer.from(pem))
    }
    return opened
  }

  /** Gets what is missing, and renews what is due, from now on. */
  start(): void {
    for (const one of this.#all) this.#soon(one, 0)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    for (const { timer } of this.#all) clearTimeout(timer)
    await this.#turn
  }

  status(): readonly AcmeStatus[] {
    return this.#all.map(({ names, dueMs, failures, problem }) => ({ names, dueMs, failures, problem }))
  }

  #soon(one: Managed, ms: number): void {
    clearTimeout(one.timer)
    if (this.#stopping.signal.aborted) return
    one.timer = setTimeout(
      () => {
        this.#turn = this.#turn.then(() => this.#look(one))
      },
      Math.min(WAKE_MS_MAX, Math.max(0, ms)),
    )
    one.timer.unref()
  }

  async #look(one: Managed): Promise<void> {
    if (this.#stopping.signal.aborted) return
    try {
      const present = await this.#read(one)
      const current = present === undefined || isPlaceholder(present) ? undefined : present
      if (one.failures === 0) await this.#settleDue(one, current)
      if (Date.now() >= one.dueMs) {
        await this.#obtain(one, current)
        await this.#settleDue(one, await this.#read(one))
      }
    } catch (error) {
      if (!this.#stopping.signal.aborted) await this.#failed(one, error as Error)
    }
    this.#soon(one, Math.min(one.dueMs, one.failures > 0 ? one.dueMs : one.askAtMs) - Date.now())
  }

  /** When to renew: as the server says, or at two thirds of the lifetime. */
  async #settleDue(one: Managed, current: X509Certificate | undefined): Promise<void> {
    const nowMs = Date.now()
    if (current === undefined) {
      one.dueMs = 0
      return
    }
    if (nowMs < one.askAtMs) return
    const [fromMs, toMs] = [current.validFromDate.getTime(), current.validToDate.getTime()]
    one.dueMs = fromMs + (toMs - fromMs) * (RENEW_AFTER - JITTER * this.#random())
    one.askAtMs = nowMs + ASK_MS_MAX
    const name = renewalName(current)
    if (name === undefined) return
    try {
      const window = await (await this.#client()).renewalWindow(name)
      if (window === undefined) return
      one.dueMs = Math.min(window.startMs + (window.endMs - window.startMs) * this.#random(), toMs - (toMs - fromMs) * 0.1)
      one.askAtMs = nowMs + Math.min(ASK_MS_MAX, Math.max(ASK_MS_MIN, window.askAgainMs))
    } catch (error) {
      // Renewed it is anyway.
      one.askAtMs = nowMs + HOUR_MS
      if (!this.#stopping.signal.aborted)
        this.#options.say(
          'warn',
          `${one.names[0]}: the server does not say when to renew its certificate: ${(error as Error).message}`,
        )
    }
  }

  async #obtain(one: Managed, current: X509Certificate | undefined): Promise<void> {
    const { config, proofs, say, seal } = this.#options
    const key = newKey()
    // What failed once is tried the other way next.
    const [first, ...others] = config.challenges
    const challenges = one.failures % 2 === 1 && others.length > 0 ? [...others, first!] : config.challenges
    const order = {
      names: one.names,
      request: certificateRequest(one.names, key.object),
      challenges,
      replaces: current === undefined ? undefined : renewalName(current),
      present: (proof: Proof) => this.#proofsFor(proof).present(proof),
      withdraw: (proof: Proof) => this.#proofsFor(proof).withdraw(proof),
    }
    // Other nodes have no part in a proof in DNS.
    if (config.challenges.some((type) => type !== 'dns-01')) await proofs.ready(this.#stopping.signal)
    let client = await this.#client()
    const chain = await client.obtain(order).catch(async (error: AcmeError) => {
      if (error.type !== 'accountDoesNotExist') throw error
      // The server has lost it: a new one by the same key.
      await this.#keepAccount({ key: (await this.#account()).key })
      client = await this.#client()
      return await client.obtain(order)
    })
    const leaf = checkedLeaf(chain, one.names, key.object)
    await seal.write(one.file, sealName(one.file), Buffer.from(`${chain.trimEnd()}\n${key.pem}`))
    this.obtained++
    one.problem = undefined
    one.askAtMs = 0
    const again = one.failures > 0
    one.failures = 0
    if (again) await this.#keepWaits()
    say('info', `a certificate for ${one.names.join(', ')} was obtained, valid until ${leaf.validTo}`)
  }

  #proofsFor({ type }: Proof): Pick<Proofs, 'present' | 'withdraw'> {
    return type === 'dns-01' && this.#dnsProofs !== undefined ? this.#dnsProofs : this.#options.proofs
  }

  async #failed(one: Managed, error: Error): Promise<void> {
    this.failed++
    const backoffMs = BACKOFF_MS[Math.min(one.failures, BACKOFF_MS.length - 1)]! * (0.9 + 0.2 * this.#random())
    one.failures++
    one.problem = error.message
    const asked = error instanceof AcmeError ? (error.retryAfterMs ?? 0) : 0
    one.dueMs = Date.now() + Math.max(asked, backoffMs)
    this.#options.say(
      'warn',
      `no certificate for ${one.names.join(', ')}: ${error.message}; tried again at ${new Date(one.dueMs).toISOString().slice(0, 19)}Z`,
    )
    await this.#keepWaits().catch((cause: Error) => this.#options.say('warn', `${this.#options.folder}: ${cause.message}`))
  }

  /** Undefined: not there, or of no use. */
  async #read({ file, names }: ManagedCertificate): Promise<X509Certificate | undefined> {
    try {
      const bytes = this.#options.seal.open(sealName(file), await readFile(file))
      if (bytes === undefined) return undefined
      const pem = Buffer.from(bytes).toString('latin1')
      const leaf = new X509Certificate(pem)
      const key = pem.slice(pem.indexOf('-----BEGIN PRIVATE KEY-----'))
      return leaf.checkPrivateKey(createPrivateKey(key)) && names.every((name) => leaf.checkHost(name) !== undefined)
        ? leaf
        : undefined
    } catch {
      return undefined
    }
  }

  async #client(): Promise<AcmeClient> {
    const { directory, contact } = this.#options.config
    const account = await this.#account()
    const client = new AcmeClient({
      directory,
      key: createPrivateKey(account.key),
      http: acmeHttp(this.#roots, this.#stopping.signal),
      account: account.url,
      sleep: (ms) => this.#sleep(ms),
    })
    if (account.url === undefined)
      await this.#keepAccount({ key: account.key, url: await client.account(contact, this.#external) })
    return client
  }

  get #accountFile(): string {
    const digest = createHash('sha256').update(this.#options.config.directory).digest('hex')
    return join(this.#options.folder, `account-${digest.slice(0, 12)}`)
  }

  async #account(): Promise<z.output<typeof Account>> {
    const file = this.#accountFile
    const bytes = await this.#options.seal.read(file, sealName(file))
    if (bytes !== undefined) return Account.parse(JSON.parse(Buffer.from(bytes).toString('utf8')))
    const account = { key: newKey().pem }
    await this.#keepAccount(account)
    return account
  }

  async #keepAccount(account: z.output<typeof Account>): Promise<void> {
    const file = this.#accountFile
    await this.#options.seal.write(file, sealName(file), Buffer.from(JSON.stringify(account)))
  }

  /** A node that is started over and over must not ask over and over. */
  async #keepWaits(): Promise<void> {
    const waits = this.#all.flatMap(({ file, failures, dueMs, problem }) =>
      failures === 0 ? [] : [[basename(file), { failures, untilMs: dueMs, problem: problem ?? '' }] as const],
    )
    const { folder, disk } = this.#options
    await writeFileSealed(join(folder, 'waits.json'), JSON.stringify(Object.fromEntries(waits)), disk)
  }

  #sleep(ms: number): Promise<void> {
    const { signal } = this.#stopping
    return new Promise((resolve, reject) => {
      const stop = (): void => {
        clearTimeout(timer)
        reject(new AcmeError('the node is stopping'))
      }
      const timer = setTimeout(() => {
        signal.removeEventListener('abort', stop)
        resolve()
      }, ms)
      if (signal.aborted) stop()
      else signal.addEventListener('abort', stop, { once: true })
    })
  }
}

/** What the server sent is for this key and these names, and in force. @throws {AcmeError} */
function checkedLeaf(chain: string, names: readonly string[], key: KeyObject): X509Certificate {
  let leaf: X509Certificate
  try {
    leaf = new X509Certificate(chain)
  } catch {
    throw new AcmeError('the server sent no certificate in PEM')
  }
  if (chain.includes('PRIVATE KEY') || !leaf.checkPrivateKey(key))
    throw new AcmeError('the server sent a certificate for another key')
  const missing = names.find((name) => leaf.checkHost(name) === undefined)
  if (missing !== undefined) throw new AcmeError(`the server sent a certificate that is not for ${missing}`)
  if (leaf.validToDate.getTime() <= Date.now()) throw new AcmeError(`the server sent a certificate that ended ${leaf.validTo}`)
  return leaf
}

function readText(file: string, key: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    throw new StartError(
      'CONFIG_INVALID',
      `${file}: cannot be read, and is named by ${key}: ${(cause as NodeJS.ErrnoException).code}`,
      { cause },
    )
  }
}

function readTsigKey(file: string): TsigKey {
  const key = parseTsigKey(readText(file, 'acme.dns.keyFile'))
  if (key !== undefined) return key
  const expected = 'key "NAME" { algorithm hmac-sha256; secret "BASE64"; }; as tsig-keygen writes it'
  throw new StartError('CONFIG_INVALID', `${file}: expected ${expected}`)
}

async function readWaits(folder: string, disk: DiskSeal | undefined): Promise<z.output<typeof Waits>> {
  try {
    const bytes = await readFileSealed(join(folder, 'waits.json'), disk)
    return bytes === undefined ? {} : Waits.parse(JSON.parse(Buffer.from(bytes).toString('utf8')))
  } catch {
    return {}
  }
}
