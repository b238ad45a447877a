/** As much of DNS messages (RFC 1035, section 4; RFC 2782; RFC 6762) as finding a ring takes. Strict and bounded: anybody on the link sends them. */

export const DNS_BYTES_MAX = 1_500
const RECORDS_MAX = 32
const NAME_CHARS_MAX = 255
const POINTERS_MAX = 8
export const DnsType = { A: 1, PTR: 12, TXT: 16, AAAA: 28, SRV: 33, ANY: 255 } as const
const IN = 1
/** In a question: answer to me alone (RFC 6762 section 5.4). In an answer: forget what was said before (section 10.2). */
const TOP_BIT = 0x8000

export interface DnsQuestion {
  readonly name: string
  readonly type: number
}

export type DnsRecord =
  | { readonly type: 'PTR'; readonly name: string; readonly target: string }
  | { readonly type: 'SRV'; readonly name: string; readonly target: string; readonly port: number }
  | { readonly type: 'A'; readonly name: string; readonly address: string }

export interface DnsMessage {
  readonly id: number
  readonly isAnswer: boolean
  readonly questions: readonly DnsQuestion[]
  /** Those that are understood, of all sections. */
  readonly records: readonly DnsRecord[]
}

/** Not a message, or a larger one than is read. */
export class DnsMalformed extends Error {
  override readonly name = 'DnsMalformed'
}

function encodeName(name: string): Buffer {
  const labels = name.split('.').map((label) => {
    const bytes = Buffer.from(label)
    if (bytes.length < 1 || bytes.length > 63) throw new DnsMalformed(`${name} is no name`)
    return Buffer.concat([Buffer.of(bytes.length), bytes])
  })
  return Buffer.concat([...labels, Buffer.of(0)])
}

function word(value: number): Buffer {
  return Buffer.of(value >> 8, value & 255)
}

export function encodeDns({ id, isAnswer, questions, records }: DnsMessage, ttlS = 120): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt16BE(id, 0)
  head.writeUInt16BE(isAnswer ? 0x8400 : 0, 2)
  head.writeUInt16BE(questions.length, 4)
  head.writeUInt16BE(records.length, 6)
  const asked = questions.map(({ name, type }) =>
    Buffer.concat([encodeName(name), word(type), word(IN | (isAnswer ? 0 : TOP_BIT))]),
  )
  const ttl = Buffer.alloc(4)
  ttl.writeUInt32BE(ttlS)
  const said = records.map((record) => {
    const data = encodeData(record)
    return Buffer.concat([encodeName(record.name), word(DnsType[record.type]), word(IN), ttl, word(data.length), data])
  })
  return Buffer.concat([head, ...asked, ...said])
}

function encodeData(record: DnsRecord): Buffer {
  if (record.type === 'PTR') return encodeName(record.target)
  if (record.type === 'A') return Buffer.from(record.address.split('.').map(Number))
  return Buffer.concat([word(0), word(0), word(record.port), encodeName(record.target)])
}

/** @throws {DnsMalformed} */
export function parseDns(bytes: Buffer): DnsMessage {
  if (bytes.length > DNS_BYTES_MAX) throw new DnsMalformed('too long')
  const reader = new Reader(bytes)
  const [id, flags, asked, ...said] = [reader.word(), reader.word(), reader.word(), reader.word(), reader.word(), reader.word()]
  const count = (said as number[]).reduce((sum, one) => sum + one, 0)
  if ((asked as number) + count > RECORDS_MAX) throw new DnsMalformed('too many records')
  const questions = Array.from({ length: asked as number }, () => {
    const question = { name: reader.name(), type: reader.word() }
    reader.word()
    return question
  })
  const records: DnsRecord[] = []
  for (let left = count; left > 0; left -= 1) {
    const record = reader.record()
    if (record !== undefined) records.push(record)
  }
  return { id: id as number, isAnswer: ((flags as number) & 0x8000) !== 0, questions, records }
}

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  #take(length: number): Buffer {
    const end = this.#at + length
    if (end > this.#bytes.length) throw new DnsMalformed('it ends early')
    const taken = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return taken
  }

  word(): number {
    return this.#take(2).readUInt16BE()
  }

  /** Pointers lead backwards only, so that every name ends. */
  name(): string {
    const labels: string[] = []
    let back: number | undefined
    let bound = this.#at
    for (let pointers = 0, length = 0; ; ) {
      const size = this.#take(1)[0] as number
      if (size === 0) break
      if (size >= 0xc0) {
        const target = ((size & 0x3f) << 8) | (this.#take(1)[0] as number)
        pointers += 1
        if (target >= bound || pointers > POINTERS_MAX) throw new DnsMalformed('a name that goes round')
        back ??= this.#at
        bound = target
        this.#at = target
        continue
      }
      length += size + 1
      if (size > 63 || length > NAME_CHARS_MAX) throw new DnsMalformed('a name that is too long')
      labels.push(this.#take(size).toString('utf8'))
    }
    if (back !== undefined) this.#at = back
    return labels.join('.').toLowerCase()
  }

  record(): DnsRecord | undefined {
    const name = this.name()
    const type = this.word()
    this.#take(6)
    const length = this.word()
    const end = this.#at + length
    if (end > this.#bytes.length) throw new DnsMalformed('it ends early')
    let found: DnsRecord | undefined
    if (type === DnsType.PTR) found = { type: 'PTR', name, target: this.name() }
    else if (type === DnsType.A && length === 4) found = { type: 'A', name, address: [...this.#take(4)].join('.') }
    else if (type === DnsType.SRV && length > 6) {
      this.#take(4)
      found = { type: 'SRV', name, port: this.word(), target: this.name() }
    }
    if (found !== undefined && this.#at !== end) throw new DnsMalformed('a record of another length than it says')
    this.#at = end
    return found
  }
}
