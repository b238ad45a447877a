/**
 * The certificates of one listener: read from files, checked, chosen by the name that a client asks for, and read again when
 * the files change. A pair that does not hold together is refused, and the one before it stays.
 */
import { constants, createPrivateKey, hash, type KeyObject, X509Certificate } from 'node:crypto'
import { closeSync, type FSWatcher, fstatSync, openSync, readFileSync, statSync, watch } from 'node:fs'
import { dirname } from 'node:path'
import { createSecureContext, type SecureContext } from 'node:tls'
import { TlsFilesInvalid } from './errors.ts'
import { currentTicketSecret, newTicketSecret, type TicketSecret, ticketKeys } from './ticket-secret.ts'
import type { CertificateFiles, CertificateStatus, TlsOptions, Unseal } from './types.ts'

/** Forward secrecy and authenticated encryption only; the first three are TLS 1.3's. */
const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':')
const GROUPS = 'X25519:P-256:P-384'
/** The slash: worth another round trip, when a client that knows it did not send its share at once. */
const HYBRID_GROUPS = `X25519MLKEM768/${GROUPS}`
const OPTIONS = constants.SSL_OP_NO_RENEGOTIATION | constants.SSL_OP_CIPHER_SERVER_PREFERENCE | constants.SSL_OP_PRIORITIZE_CHACHA
const FILE_BYTES_MAX = 1_048_576
const RSA_BITS_MIN = 2_048
/** Read or written by others, or written by the group. */
const MODE_REFUSED = 0o027
const SESSION_S = 3_600
/** Writers replace two files one after the other: what does not fit together is looked at once more before it is told. */
const SETTLE_MS = 300
const AGAIN_MS = 1_500
/** Beside the watch, which sees no file behind a link into another folder. */
const POLL_MS = 30_000
/** How files begin that this node has sealed. */
const SEALED = [Buffer.from('RWS1'), Buffer.from('ringwall-seal ')]
const DNS_NAME = /^(?:\*\.)?[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?$/

/** One certificate with its key, as it is in use. */
interface Pair {
  readonly certificate: string
  readonly key: string
  readonly digest: string
  readonly leaf: X509Certificate
  readonly names: readonly string[]
  context: SecureContext
}

interface Slot {
  readonly files: CertificateFiles
  pair: Pair
  /** Why the files, as they are now, are not in use. */
  problem: string | undefined
  stamp: string
}

export class Certificates {
  readonly #options: TlsOptions
  readonly #log: (level: 'info' | 'warn', line: string) => void
  readonly #slots: readonly Slot[]
  #byName: ReadonlyMap<string, Pair> = new Map()
  readonly #unseal: Unseal | undefined
  #ticketSecret: TicketSecret
  #ticketKeys: Buffer
  #watchers: FSWatcher[] = []
  #settling: NodeJS.Timeout | undefined
  #polling: NodeJS.Timeout | undefined
  #reloads = 0
  #reloadsRefused = 0

  /** @throws {TlsFilesInvalid} Naming the file and what to do. */
  constructor(
    options: TlsOptions,
    log: (level: 'info' | 'warn', line: string) => void,
    ticketSecret: TicketSecret = newTicketSecret(),
    unseal?: Unseal,
  ) {
    this.#options = options
    this.#unseal = unseal
    this.#log = log
    this.#ticketSecret = currentTicketSecret(ticketSecret)
    this.#ticketKeys = ticketKeys(this.#ticketSecret)
    this.#slots = options.certificates.map((files, at) => {
      const pair = this.#read(files, at === 0)
      return { files, pair, problem: undefined, stamp: stampOf(files) }
    })
    for (const { files, pair } of this.#slots) {
      if (isExpired(pair.leaf, Date.now()))
        log('warn', `${files.certificate} has expired at ${pair.leaf.validTo}: clients refuse it`)
    }
    this.#index()
  }

  /** For the name a client asks for; undefined: refuse it. */
  contextFor(serverName: string | undefined): SecureContext | undefined {
    const found = serverName === undefined ? undefined : this.#find(serverName)
    if (found !== undefined) return found.context
    return this.#options.unknownNames === 'first' ? this.#slots[0]!.pair.context : undefined
  }

  #find(name: string): Pair | undefined {
    const exact = this.#byName.get(name)
    if (exact !== undefined) return exact
    // One label, and only the leftmost (RFC 6125 section 6.4.3).
    const dot = name.indexOf('.')
    return dot < 1 ? undefined : this.#byName.get(`*${name.slice(dot)}`)
  }

  status(): readonly CertificateStatus[] {
    return this.#slots.map(({ files, pair, problem }) => ({
      certificate: files.certificate,
      names: pair.names,
      notBeforeMs: pair.leaf.validFromDate.getTime(),
      notAfterMs: pair.leaf.validToDate.getTime(),
      problem,
    }))
  }

  get reloads(): { readonly taken: number; readonly refused: number } {
    return { taken: this.#reloads, refused: this.#reloadsRefused }
  }

  /** Follows the files from now on. */
  watch(): void {
    const folders = new Set(this.#slots.flatMap(({ files }) => [dirname(files.certificate), dirname(files.key)]))
    for (const folder of folders) {
      try {
        const watcher = watch(folder, () => this.#settle())
        watcher.on('error', (error) => this.#log('warn', `${folder} can no longer be watched: ${error.message}`))
        watcher.unref()
        this.#watchers.push(watcher)
      } catch (error) {
        this.#log('warn', `${folder} cannot be watched (${(error as Error).message}); its certificates are looked at every 30 s`)
      }
    }
    this.#polling = setInterval(() => this.#poll(), POLL_MS)
    this.#polling.unref()
  }

  close(): void {
    clearTimeout(this.#settling)
    clearInterval(this.#polling)
    for (const watcher of this.#watchers.splice(0)) watcher.close()
  }

  /** Looks at all files now. What is well is taken; what is not is told, and what was in use stays. */
  reload(): void {
    this.#reload(true)
  }

  /** New keys for session tickets every so often, at the same time for all who share the secret. */
  sweep(): void {
    const secret = currentTicketSecret(this.#ticketSecret)
    if (secret === this.#ticketSecret) return
    this.#ticketSecret = secret
    this.#ticketKeys = ticketKeys(secret)
    for (const { pair } of this.#slots) pair.context = this.#context(pair.certificate, pair.key)
  }

  /** Never put off: in a folder where something changes all the time, waiting for quiet would be waiting for good. */
  #settle(ms = SETTLE_MS, again = false): void {
    if (this.#settling !== undefined) return
    this.#settling = setTimeout(() => {
      this.#settling = undefined
      if (!again && !this.#changed()) return
      if (!this.#reload(again) && !again) this.#settle(AGAIN_MS, true)
    }, ms)
    this.#settling.unref()
  }

  #poll(): void {
    if (this.#changed()) this.#settle()
  }

  #changed(): boolean {
    return this.#slots.some(({ files, stamp }) => stampOf(files) !== stamp)
  }

  /** @param tell Whether to speak of problems: what is new and wrong may be half written. @returns Whether all is well. */
  #reload(tell: boolean): boolean {
    let well = true
    let taken = false
    for (const [at, slot] of this.#slots.entries()) {
      const { files } = slot
      slot.stamp = stampOf(files)
      try {
        const pair = this.#read(files, at === 0)
        const wasRefused = slot.problem !== undefined
        slot.problem = undefined
        if (pair.digest === slot.pair.digest) {
          if (wasRefused) this.#log('info', `${files.certificate} is again the one in use`)
          continue
        }
        const nowMs = Date.now()
        if (isExpired(pair.leaf, nowMs) && !isExpired(slot.pair.leaf, nowMs))
          throw new TlsFilesInvalid(files.certificate, `has expired at ${pair.leaf.validTo}`)
        slot.pair = pair
        taken = true
        this.#reloads++
        this.#log('info', `${files.certificate} is taken up: ${pair.names.join(', ')}, valid until ${pair.leaf.validTo}`)
      } catch (error) {
        well = false
        if (!tell) continue
        const problem = (error as Error).message
        if (problem !== slot.problem) {
          this.#reloadsRefused++
          this.#log('warn', `${problem}; the certificate before it stays in use`)
        }
        slot.problem = problem
      }
    }
    if (taken) this.#index()
    return well
  }

  #index(): void {
    const byName = new Map<string, Pair>()
    // Names that the configuration gives go before those that certificates have anyway; of equals the first listed.
    for (const given of [true, false]) {
      for (const { files, pair } of this.#slots) {
        if ((files.names !== undefined) !== given) continue
        for (const name of pair.names) if (!byName.has(name)) byName.set(name, pair)
      }
    }
    this.#byName = byName
  }

  #read(files: CertificateFiles, isFirst: boolean): Pair {
    const certificate = certificatesIn(this.#opened(files.certificate, readBounded(files.certificate, 'certificate')))
    const key = parsedKey(files.key, this.#opened(files.key, readKey(files.key)))
    const leaf = leafOf(certificate, files.certificate)
    if (!leaf.checkPrivateKey(key.object)) {
      throw new TlsFilesInvalid(
        files.key,
        `is not the key of the first certificate in ${files.certificate}; that must be the server’s own`,
      )
    }
    const { asymmetricKeyType, asymmetricKeyDetails } = key.object
    if (asymmetricKeyType === 'rsa' && (asymmetricKeyDetails?.modulusLength ?? 0) < RSA_BITS_MIN)
      throw new TlsFilesInvalid(
        files.key,
        `is an RSA key of ${asymmetricKeyDetails?.modulusLength} bits; at least ${RSA_BITS_MIN} are needed`,
      )
    const names = files.names ?? namesOf(leaf)
    for (const name of files.names ?? []) {
      if (leaf.checkHost(name.startsWith('*.') ? `a${name.slice(1)}` : name) === undefined)
        throw new TlsFilesInvalid(
          files.certificate,
          `is not valid for ${name}; it is for ${namesOf(leaf).join(', ') || 'no host name'}`,
        )
    }
    if (names.length === 0 && !isFirst)
      throw new TlsFilesInvalid(
        files.certificate,
        'names no host (subjectAltName), so no client can ask for it; only the first may',
      )
    try {
      const context = this.#context(certificate, key.pem)
      return { certificate, key: key.pem, digest: hash('sha256', `${certificate}\n${key.pem}`), leaf, names, context }
    } catch (error) {
      throw new TlsFilesInvalid(files.certificate, `is refused by OpenSSL: ${(error as Error).message}`)
    }
  }

  #opened(file: string, bytes: Buffer): string {
    if (!SEALED.some((magic) => magic.equals(bytes.subarray(0, magic.length)))) return bytes.toString('latin1')
    const opened = this.#unseal?.(file, bytes)
    if (opened === undefined) throw new TlsFilesInvalid(file, 'is sealed, and not by this node’s key')
    return Buffer.from(opened).toString('latin1')
  }

  #context(cert: string, key: string): SecureContext {
    return createSecureContext({
      cert,
      key,
      // None: where clients are asked for certificates, it is not for who issued them.
      ca: [],
      minVersion: this.#options.minVersion,
      ciphers: CIPHERS,
      ecdhCurve: groups(),
      secureOptions: OPTIONS,
      sessionIdContext: 'ringwall',
      sessionTimeout: SESSION_S,
      ticketKeys: this.#ticketKeys,
    })
  }
}

let knownGroups: string | undefined

/** With the hybrid post-quantum one where the OpenSSL at hand has it: from 3.5. */
function groups(): string {
  if (knownGroups !== undefined) return knownGroups
  try {
    createSecureContext({ ca: [], ecdhCurve: HYBRID_GROUPS })
    knownGroups = HYBRID_GROUPS
  } catch {
    knownGroups = GROUPS
  }
  return knownGroups
}

function isExpired(leaf: X509Certificate, nowMs: number): boolean {
  return leaf.validToDate.getTime() <= nowMs
}

/** Of the open file, so that what is checked is what is read. */
function readBounded(file: string, what: string, check?: (mode: number) => void): Buffer {
  let descriptor: number
  try {
    descriptor = openSync(file, 'r')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    const why =
      code === 'ENOENT' ? 'does not exist' : code === 'EACCES' ? 'cannot be read: no permission' : `cannot be read: ${code}`
    throw new TlsFilesInvalid(file, `the ${what} ${why}`)
  }
  try {
    const stat = fstatSync(descriptor)
    if (!stat.isFile()) throw new TlsFilesInvalid(file, `is no file; expected a ${what} in PEM`)
    if (stat.size > FILE_BYTES_MAX) throw new TlsFilesInvalid(file, `is too long for a ${what}`)
    check?.(stat.mode)
    return readFileSync(descriptor)
  } finally {
    closeSync(descriptor)
  }
}

function readKey(file: string): Buffer {
  return readBounded(file, 'private key', (mode) => {
    if (process.platform === 'win32' || (mode & MODE_REFUSED) === 0) return
    const octal = (mode & 0o777).toString(8).padStart(4, '0')
    const whom = (mode & 0o007) !== 0 ? 'everybody on this machine can get at it' : 'its group can change it'
    throw new TlsFilesInvalid(file, `is a private key with mode ${octal}: ${whom}; run chmod 600 ${file}`)
  })
}

/** Those of a file that may have the key as well. */
function certificatesIn(pem: string): string {
  if (!pem.includes('PRIVATE KEY')) return pem
  return (pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).join('\n')
}

function parsedKey(file: string, text: string): { readonly pem: string; readonly object: KeyObject } {
  // Beside certificates it is not where OpenSSL looks first.
  const pem = /-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [A-Z ]*PRIVATE KEY-----/.exec(text)?.[0] ?? text
  if (/ENCRYPTED/.test(pem))
    throw new TlsFilesInvalid(file, 'is an encrypted private key; decrypt it: openssl pkey -in FILE -out FILE')
  try {
    return { pem, object: createPrivateKey(pem) }
  } catch {
    // The cause may quote the file.
    throw new TlsFilesInvalid(file, 'is no private key in PEM (PKCS#8, RSA or EC)')
  }
}

function leafOf(pem: string, file: string): X509Certificate {
  try {
    return new X509Certificate(pem)
  } catch {
    throw new TlsFilesInvalid(file, 'is no certificate in PEM: expected the server’s own, then those that issued it')
  }
}

/** The host names that a certificate is for (subjectAltName), in lower case. */
function namesOf(leaf: X509Certificate): readonly string[] {
  const names = (leaf.subjectAltName ?? '').split(', ').flatMap((entry) => {
    const name = entry.startsWith('DNS:') ? entry.slice(4).toLowerCase() : ''
    return DNS_NAME.test(name) ? [name] : []
  })
  return [...new Set(names)]
}

/** Tells whether the files may have changed. */
function stampOf({ certificate, key }: CertificateFiles): string {
  return [certificate, key]
    .map((file) => {
      const stat = statSync(file, { throwIfNoEntry: false })
      return stat === undefined ? 'none' : `${stat.ino}:${stat.size}:${stat.mtimeMs}:${stat.mode}`
    })
    .join(' ')
}
