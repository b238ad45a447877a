/**
 * Changes of TXT records at a name server (RFC 2136), over TCP, signed by a key that both share (TSIG, RFC 8945), and so is the answer.
 */
import { createHmac, randomInt, timingSafeEqual } from 'node:crypto'
import { connect } from 'node:net'
import type { HostPort } from '../address.ts'

const TIMEOUT_MS = 10_000
const FUDGE_S = 300
const HEADER_BYTES = 12
const NAME_BYTES_MAX = 255
const LABEL_BYTES_MAX = 63
const OPCODE_UPDATE = 5
const TYPE_SOA = 6
const TYPE_TXT = 16
const TYPE_TSIG = 250
const CLASS_IN = 1
const CLASS_NONE = 254
const CLASS_ANY = 255
const DIGESTS = { 'hmac-sha256': 'sha256', 'hmac-sha384': 'sha384', 'hmac-sha512': 'sha512' } as const

/** Of answers (RFC 6895 section 2.3). */
const CODES: Readonly<Record<number, string>> = {
  1: 'it cannot read the update (FORMERR)',
  2: 'it failed (SERVFAIL)',
  3: 'there is no such name (NXDOMAIN)',
  4: 'it takes no updates (NOTIMP)',
  5: 'it does not allow this key to make this change (REFUSED)',
  9: 'it does not serve the zone, or does not know the key (NOTAUTH)',
  10: 'the name is not in the zone (NOTZONE)',
  16: 'the key has another secret there (BADSIG)',
  17: 'it has no key of this name and algorithm (BADKEY)',
  18: 'its clock and this one are further apart than 5 min (BADTIME)',
}

export type TsigAlgorithm = keyof typeof DIGESTS

export interface TsigKey {
  readonly name: string
  readonly algorithm: TsigAlgorithm
  readonly secret: Buffer
}

export interface TxtChange {
  readonly what: 'add' | 'remove'
  readonly zone: string
  readonly name: string
  /** At most 255 bytes. */
  readonly text: string
  readonly ttlS: number
}

/** A change was not made, and why: for people. */
export class DnsUpdateError extends Error {
  override readonly name = 'DnsUpdateError'
}

/** @param text As `tsig-keygen` writes it: key "NAME" { algorithm hmac-sha256; secret "BASE64"; }; Undefined: it is none. */
export function parseTsigKey(text: string): TsigKey | undefined {
  const plain = text.replace(/^\s*(?:\/\/|#).*$/gm, '')
  const block = /^\s*key\s+"?([A-Za-z0-9._-]{1,253})"?\s*\{([^{}]{1,1024})\}\s*;?\s*$/.exec(plain)
  const algorithm = /(?:^|[\s;])algorithm\s+"?(hmac-sha(?:256|384|512))"?\s*;/i.exec(block?.[2] ?? '')?.[1]?.toLowerCase()
  const secret = /(?:^|[\s;])secret\s+"?([A-Za-z0-9+/]{22,}={0,2})"?\s*;/.exec(block?.[2] ?? '')?.[1]
  if (block === null || algorithm === undefined || secret === undefined) return undefined
  return { name: block[1]!.toLowerCase(), algorithm: algorithm as TsigAlgorithm, secret: Buffer.from(secret, 'base64') }
}

/** A domain name as it travels (RFC 1035 section 3.1), in lower case. @throws {DnsUpdateError} When it is none. */
function nameBytes(name: string): Buffer {
  const labels = name
    .toLowerCase()
    .split('.')
    .filter((label, at, all) => label !== '' || at < all.length - 1)
  const parts = labels.map((label) => {
    const bytes = Buffer.from(label, 'latin1')
    if (bytes.length === 0 || bytes.length > LABEL_BYTES_MAX) throw new DnsUpdateError(`${name} is no domain name`)
    return Buffer.concat([Buffer.of(bytes.length), bytes])
  })
  const whole = Buffer.concat([...parts, Buffer.of(0)])
  if (whole.length > NAME_BYTES_MAX) throw new DnsUpdateError(`${name} is longer than a domain name can be`)
  return whole
}

function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2)
  for (const [at, value] of values.entries()) bytes.writeUInt16BE(value, at * 2)
  return bytes
}

function dword(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

function timeBytes(timeS: number): Buffer {
  const bytes = Buffer.alloc(6)
  bytes.writeUIntBE(timeS, 0, 6)
  return bytes
}

/** An update without its signature. */
export function updateMessage(id: number, { what, zone, name, text, ttlS }: TxtChange): Buffer {
  const data = Buffer.from(text, 'latin1')
  if (data.length > 255) throw new DnsUpdateError('a text of more than 255 bytes')
  const [ofClass, ttl] = what === 'add' ? [CLASS_IN, ttlS] : [CLASS_NONE, 0]
  return Buffer.concat([
    words(id, OPCODE_UPDATE << 11, 1, 0, 1, 0),
    nameBytes(zone),
    words(TYPE_SOA, CLASS_IN),
    nameBytes(name),
    words(TYPE_TXT, ofClass),
    dword(ttl),
    words(data.length + 1),
    Buffer.of(data.length),
    data,
  ])
}

interface Stamp {
  /** Unix seconds. */
  readonly timeS: number
  readonly fudgeS: number
  readonly error: number
  readonly other: Buffer
}

/** RFC 8945 section 4.3.3. */
function stampBytes({ name, algorithm }: TsigKey, { timeS, fudgeS, error, other }: Stamp): Buffer {
  const signed = [timeBytes(timeS), words(fudgeS, error, other.length)]
  const head = [nameBytes(name), words(CLASS_ANY), dword(0), nameBytes(algorithm), ...signed]
  return Buffer.concat([...head, other])
}

function macOf(key: TsigKey, ...parts: readonly Uint8Array[]): Buffer {
  const hmac = createHmac(DIGESTS[key.algorithm], key.secret)
  for (const part of parts) hmac.update(part)
  return hmac.digest()
}

/** The message with its signature as the last record. */
export function signMessage(message: Buffer, key: TsigKey, timeS: number): { readonly bytes: Buffer; readonly mac: Buffer } {
  const stamp = { timeS, fudgeS: FUDGE_S, error: 0, other: Buffer.alloc(0) }
  const mac = macOf(key, message, stampBytes(key, stamp))
  return { bytes: withTsig(message, key, mac, stamp), mac }
}

/** @param before The signature that it answers: part of what is signed. */
export function signAnswer(message: Buffer, key: TsigKey, before: Buffer, timeS: number, error = 0): Buffer {
  const stamp = { timeS, fudgeS: FUDGE_S, error, other: Buffer.alloc(0) }
  const mac = error === 0 ? macOf(key, words(before.length), before, message, stampBytes(key, stamp)) : Buffer.alloc(0)
  return withTsig(message, key, mac, stamp)
}

function withTsig(message: Buffer, key: TsigKey, mac: Buffer, { timeS, fudgeS, error, other }: Stamp): Buffer {
  const data = Buffer.concat([
    nameBytes(key.algorithm),
    timeBytes(timeS),
    words(fudgeS, mac.length),
    mac,
    words(message.readUInt16BE(0), error, other.length),
    other,
  ])
  const record = [nameBytes(key.name), words(TYPE_TSIG, CLASS_ANY), dword(0), words(data.length), data]
  const whole = Buffer.concat([message, ...record])
  whole.writeUInt16BE(message.readUInt16BE(10) + 1, 10)
  return whole
}

/** What signs a message: the last record of all. */
export interface Signature {
  readonly key: string
  readonly algorithm: string
  readonly stamp: Stamp
  readonly mac: Buffer
  /** What is signed: the message without it. */
  readonly message: Buffer
}

class Reader {
  readonly #bytes: Buffer
  at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.at = at
  }

  take(length: number): Buffer {
    if (this.at + length > this.#bytes.length) throw new DnsUpdateError('its answer is cut off')
    this.at += length
    return this.#bytes.subarray(this.at - length, this.at)
  }

  word(): number {
    return this.take(2).readUInt16BE(0)
  }

  /** In lower case. Follows pointers backwards alone, so that it comes to an end. */
  domain(): string {
    const labels: string[] = []
    let end: number | undefined
    let length = 1
    for (let least = this.at; ; ) {
      const head = this.take(1)[0]!
      if (head === 0) break
      if (head >= 0xc0) {
        const to = ((head & 0x3f) << 8) | this.take(1)[0]!
        end ??= this.at
        if (to >= least) throw new DnsUpdateError('its answer has a name that goes round')
        least = to
        this.at = to
        continue
      }
      length += head + 1
      if (head > LABEL_BYTES_MAX || length > NAME_BYTES_MAX) throw new DnsUpdateError('its answer has a name that is none')
      labels.push(this.take(head).toString('latin1').toLowerCase())
    }
    this.at = end ?? this.at
    return labels.join('.')
  }
}

/** Undefined: it is not signed. @throws {DnsUpdateError} When it is no message. */
export function signatureOf(bytes: Buffer): Signature | undefined {
  if (bytes.length < HEADER_BYTES) throw new DnsUpdateError('its answer is cut off')
  const counts = [4, 6, 8, 10].map((at) => bytes.readUInt16BE(at)) as [number, number, number, number]
  const reader = new Reader(bytes, HEADER_BYTES)
  for (let i = 0; i < counts[0]; i += 1) {
    reader.domain()
    reader.take(4)
  }
  const others = counts[1] + counts[2] + counts[3]
  for (let i = 1; i <= others; i += 1) {
    const from = reader.at
    const key = reader.domain()
    const type = reader.word()
    reader.take(6)
    const data = reader.take(reader.word())
    if (type !== TYPE_TSIG || i < others || counts[3] === 0) continue
    const message = Buffer.from(bytes.subarray(0, from))
    message.writeUInt16BE(counts[3] - 1, 10)
    return { key, message, ...readTsig(data) }
  }
  return undefined
}

function readTsig(data: Buffer): Pick<Signature, 'algorithm' | 'stamp' | 'mac'> {
  const reader = new Reader(data, 0)
  const algorithm = reader.domain()
  const timeS = reader.take(6).readUIntBE(0, 6)
  const fudgeS = reader.word()
  const mac = reader.take(reader.word())
  reader.word()
  const error = reader.word()
  const other = reader.take(reader.word())
  return { algorithm, mac, stamp: { timeS, fudgeS, error, other } }
}

/** @param before The signature that the message answers, if it does. */
export function isSignedBy(key: TsigKey, { key: name, algorithm, stamp, mac, message }: Signature, before?: Buffer): boolean {
  if (name !== key.name || algorithm !== key.algorithm) return false
  const first = before === undefined ? [] : [words(before.length), before]
  const expected = macOf(key, ...first, message, stampBytes(key, stamp))
  return expected.length === mac.length && timingSafeEqual(expected, mac)
}

/** @throws {DnsUpdateError} When the answer says no, or is not the server's. */
export function checkAnswer(answer: Buffer, id: number, key: TsigKey, before: Buffer, nowS: number): void {
  const signature = signatureOf(answer)
  const flags = answer.readUInt16BE(2)
  if (answer.readUInt16BE(0) !== id || flags >> 15 !== 1 || ((flags >> 11) & 15) !== OPCODE_UPDATE)
    throw new DnsUpdateError('it answers something else than was asked')
  const code = (signature?.stamp.error ?? 0) === 0 ? flags & 15 : signature!.stamp.error
  // What says no need not prove who it is: nothing has been changed on its word.
  if (code !== 0) throw new DnsUpdateError(CODES[code] ?? `it answers with code ${code}`)
  if (signature === undefined || !isSignedBy(key, signature, before))
    throw new DnsUpdateError('its answer is not signed by the key')
  if (Math.abs(signature.stamp.timeS - nowS) > FUDGE_S) throw new DnsUpdateError(CODES[18]!)
}

/** @throws {DnsUpdateError} */
export async function updateTxt(server: HostPort, key: TsigKey, change: TxtChange): Promise<void> {
  const id = randomInt(0x1_0000)
  const { bytes, mac } = signMessage(updateMessage(id, change), key, Math.floor(Date.now() / 1_000))
  checkAnswer(await exchange(server, bytes), id, key, mac, Math.floor(Date.now() / 1_000))
}

/** One message to a server and its answer, each behind its length (RFC 7766 section 8). */
function exchange({ host, port }: HostPort, message: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port })
    const fail = (why: string): void => {
      socket.destroy()
      reject(new DnsUpdateError(why))
    }
    const late = setTimeout(() => fail(`it did not answer within ${TIMEOUT_MS / 1_000} s`), TIMEOUT_MS)
    const chunks: Buffer[] = []
    let held = 0
    socket.on('connect', () => socket.write(Buffer.concat([words(message.length), message])))
    socket.on('data', (chunk) => {
      chunks.push(chunk)
      held += chunk.length
      if (held < 2) return
      const all = Buffer.concat(chunks)
      const length = all.readUInt16BE(0)
      if (held < length + 2) return
      socket.destroy()
      resolve(all.subarray(2, length + 2))
    })
    socket.on('error', (error: NodeJS.ErrnoException) => fail(error.code ?? error.message))
    socket.on('close', () => {
      clearTimeout(late)
      reject(new DnsUpdateError('it closed the connection without an answer'))
    })
  })
}
