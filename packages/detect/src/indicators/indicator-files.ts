/**
 * Files of indicators: plain lists, STIX 2.1 bundles (OASIS, "STIX Version 2.1", 2021), events of MISP feeds (MISP core format). Of these the
 * addresses and prefixes are taken in; all else is counted by what it is and left out. What is no such file is refused, with a JSON pointer
 * (RFC 6901) or a line to what is wrong. Pure: reading addresses is an argument, as it belongs to a package above.
 */
import type { Indicator, IndicatorPrefix } from './indicator-set.ts'

/** Of an address or `ADDRESS/LENGTH`, bits beyond the length set to zero; undefined for anything else. */
export type ReadPrefix = (text: string) => IndicatorPrefix | undefined

export interface IndicatorDefaults {
  readonly confidence: number
  /** How long an indicator holds whose source does not say; Infinity for always. */
  readonly ttlMs: number
  readonly nowMs: number
  readonly readPrefix: ReadPrefix
}

/** What becomes of the parts of a file. */
export interface IndicatorSink {
  add(indicator: Indicator): void
  /** Something that was not taken in, by its kind: `domain-name`, `revoked`, `pattern`. */
  leaveOut(kind: string): void
}

/** A file that is not what it is said to be. */
export class IndicatorFileInvalid extends Error {
  override readonly name = 'IndicatorFileInvalid'
  readonly code = 'INDICATOR_FILE_INVALID'
  /** A JSON pointer, or `line N`. */
  readonly at: string
  constructor(at: string, expected: string) {
    super(`${at === '' ? 'the file' : at}: expected ${expected}`)
    this.at = at
  }
}

const LINE_CHARS_MAX = 1_000
const PATTERN_CHARS_MAX = 65_536
/** Alternatives of one pattern. */
const ALTERNATIVES_MAX = 10_000
/** Lines that are no address before a list is taken for something else. */
const BAD_LINES_MAX = 100

/** A list: an address or prefix a line, or the first field of comma-separated ones; `#` and `;` begin comments, which name what is before them. */
export class IndicatorList {
  readonly #defaults: IndicatorDefaults
  readonly #sink: IndicatorSink
  #rest = ''
  #line = 0
  #bad = 0
  #good = 0

  constructor(defaults: IndicatorDefaults, sink: IndicatorSink) {
    this.#defaults = defaults
    this.#sink = sink
  }

  /** @param text Of any length, cut anywhere. @throws {IndicatorFileInvalid} */
  write(text: string): void {
    const lines = (this.#rest + text).split('\n')
    this.#rest = lines.pop()!
    if (this.#rest.length > LINE_CHARS_MAX) this.#refuse(this.#line + 1, `lines of at most ${LINE_CHARS_MAX} characters`)
    for (const line of lines) this.#take(line)
  }

  /** @throws {IndicatorFileInvalid} */
  end(): void {
    if (this.#rest !== '') this.#take(this.#rest)
    this.#rest = ''
  }

  #take(line: string): void {
    this.#line += 1
    if (line.length > LINE_CHARS_MAX) this.#refuse(this.#line, `at most ${LINE_CHARS_MAX} characters`)
    const at = line.search(/[#;]/)
    const body = (at < 0 ? line : line.slice(0, at)).trim()
    if (body === '') return
    const named = body.split(/[,\s]/, 1)[0]!.replace(/^"(.*)"$/, '$1')
    const prefix = this.#defaults.readPrefix(named)
    if (prefix === undefined) {
      this.#bad += 1
      if (this.#bad > BAD_LINES_MAX && this.#bad > this.#good) this.#refuse(this.#line, 'a list of addresses and prefixes')
      this.#sink.leaveOut('line')
      return
    }
    this.#good += 1
    const { confidence, ttlMs, nowMs } = this.#defaults
    this.#sink.add({ prefix, confidence, expiresAtMs: nowMs + ttlMs, label: at < 0 ? '' : line.slice(at + 1).trim() })
  }

  #refuse(line: number, expected: string): never {
    throw new IndicatorFileInvalid(`line ${line}`, expected)
  }
}

type Plain = Readonly<Record<string, unknown>>

function plain(value: unknown, at: string): Plain {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Plain
  throw new IndicatorFileInvalid(at, 'an object')
}

function parsed(text: string): Plain {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new IndicatorFileInvalid('', 'JSON')
  }
  return plain(value, '')
}

/** An own field that is there, or undefined. */
const own = (value: Plain, name: string): unknown => (Object.hasOwn(value, name) ? value[name] : undefined)

function textOf(value: Plain, name: string, at: string): string {
  const text = own(value, name)
  if (typeof text !== 'string') throw new IndicatorFileInvalid(`${at}/${name}`, 'text')
  return text
}

/** @throws {IndicatorFileInvalid} */
export function readStixBundle(text: string, defaults: IndicatorDefaults, sink: IndicatorSink): void {
  const bundle = parsed(text)
  if (own(bundle, 'type') !== 'bundle') throw new IndicatorFileInvalid('/type', 'bundle')
  const objects = own(bundle, 'objects') ?? []
  if (!Array.isArray(objects)) throw new IndicatorFileInvalid('/objects', 'a list')
  for (const [index, value] of objects.entries()) readStixObject(value, `/objects/${index}`, defaults, sink)
}

/** One object of a bundle or an envelope. @param at A JSON pointer to it. @throws {IndicatorFileInvalid} */
export function readStixObject(value: unknown, at: string, defaults: IndicatorDefaults, sink: IndicatorSink): void {
  const object = plain(value, at)
  const type = textOf(object, 'type', at)
  if (type !== 'indicator') sink.leaveOut(type.slice(0, 40))
  else readStixIndicator(object, at, defaults, sink)
}

function readStixIndicator(object: Plain, at: string, defaults: IndicatorDefaults, sink: IndicatorSink): void {
  const moment = (name: string): number | undefined => {
    if (own(object, name) === undefined) return undefined
    const ms = Date.parse(textOf(object, name, at))
    if (Number.isNaN(ms)) throw new IndicatorFileInvalid(`${at}/${name}`, 'a time such as 2027-01-31T12:00:00Z')
    return ms
  }
  const confidence = own(object, 'confidence') ?? defaults.confidence
  if (typeof confidence !== 'number' || !(confidence >= 0 && confidence <= 100))
    throw new IndicatorFileInvalid(`${at}/confidence`, 'a number from 0 to 100')
  const [from, until] = [moment('valid_from'), moment('valid_until')]
  const name = own(object, 'name')
  const language = own(object, 'pattern_type') ?? 'stix'
  const pattern = textOf(object, 'pattern', at)
  const alternatives = alternativesOf(pattern)
  const isEarly = from !== undefined && from > defaults.nowMs
  if (own(object, 'revoked') === true || language !== 'stix' || isEarly || alternatives === undefined) {
    const kinds = [
      own(object, 'revoked') === true && 'revoked',
      language !== 'stix' && 'other pattern language',
      isEarly && 'not valid yet',
    ]
    sink.leaveOut(kinds.find((kind) => kind !== false) ?? 'pattern that no single observation decides')
    return
  }
  const expiresAtMs = until ?? defaults.nowMs + defaults.ttlMs
  const label = typeof name === 'string' ? name : ''
  for (const { path, value } of alternatives) {
    if (!ADDRESS_PATHS.has(path)) {
      sink.leaveOut(path.split(':', 1)[0]!.slice(0, 40))
      continue
    }
    const prefix = defaults.readPrefix(value)
    if (prefix === undefined) sink.leaveOut('no address')
    else sink.add({ prefix, confidence, expiresAtMs, label })
  }
}

/** Whose match means that a request’s source is what was meant. */
const ADDRESS_PATHS: ReadonlySet<string> = new Set(['ipv4-addr:value', 'ipv6-addr:value', 'network-traffic:src_ref.value'])

interface Comparison {
  readonly path: string
  readonly value: string
}

const TOKEN = /\s*(?:(\[)|(\])|(\()|(\))|(,)|'((?:[^'\\]|\\.)*)'|(=)|([A-Za-z][\w:.'"-]*))/y

/**
 * The comparisons of a pattern that is true as soon as one of them is: `=`, `IN`, `ISSUBSET`, joined by `OR` within and between
 * observations. Undefined for all other patterns (section 9): what they say an address alone does not.
 */
export function alternativesOf(pattern: string): readonly Comparison[] | undefined {
  if (pattern.length > PATTERN_CHARS_MAX) return undefined
  const words: { readonly kind: 'mark' | 'text' | 'word'; readonly text: string }[] = []
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < pattern.trimEnd().length) {
    const match = TOKEN.exec(pattern)
    if (match === null || words.length > ALTERNATIVES_MAX * 4) return undefined
    if (match[6] !== undefined) words.push({ kind: 'text', text: match[6].replace(/\\(.)/g, '$1') })
    else if (match[8] !== undefined) words.push({ kind: 'word', text: match[8] })
    else words.push({ kind: 'mark', text: match[0].trim() })
  }
  const found: Comparison[] = []
  let at = 0
  const isMark = (text: string): boolean => words[at]?.kind === 'mark' && words[at]!.text === text
  const isWord = (text: string): boolean => words[at]?.kind === 'word' && words[at]!.text === text
  const mark = (text: string): boolean => {
    if (!isMark(text)) return false
    at += 1
    return true
  }
  const literal = (path: string): boolean => {
    const word = words[at]
    if (word?.kind !== 'text' || found.length >= ALTERNATIVES_MAX) return false
    found.push({ path, value: word.text })
    at += 1
    return true
  }
  const comparison = (): boolean => {
    const word = words[at]
    if (word?.kind !== 'word' || !word.text.includes(':')) return false
    at += 1
    if (isWord('IN')) {
      at += 1
      if (!mark('(')) return false
      do if (!literal(word.text)) return false
      while (mark(','))
      return mark(')')
    }
    if (isWord('ISSUBSET')) at += 1
    else if (!mark('=')) return false
    return literal(word.text)
  }
  do {
    if (!mark('[')) return undefined
    for (;;) {
      if (!comparison()) return undefined
      if (!isWord('OR')) break
      at += 1
    }
    if (!mark(']')) return undefined
    if (at === words.length) return found
    if (!isWord('OR')) return undefined
    at += 1
  } while (at < words.length)
  return undefined
}

/** Attributes of an event of a MISP feed, those of its objects too; one that is not for detection (`to_ids`) is left out. */
export function readMispEvent(text: string, defaults: IndicatorDefaults, sink: IndicatorSink): void {
  const event = plain(own(parsed(text), 'Event'), '/Event')
  const info = own(event, 'info')
  const label = typeof info === 'string' ? info : ''
  readMispAttributes(event, '/Event', label, defaults, sink)
  const objects = own(event, 'Object') ?? []
  if (!Array.isArray(objects)) throw new IndicatorFileInvalid('/Event/Object', 'a list')
  for (const [index, object] of objects.entries()) {
    const at = `/Event/Object/${index}`
    readMispAttributes(plain(object, at), at, label, defaults, sink)
  }
}

/** Machines that attack also call home: both directions count. What stands behind `|` is a port. */
const MISP_TYPES: ReadonlySet<string> = new Set(['ip-src', 'ip-src|port', 'ip-dst', 'ip-dst|port'])

function readMispAttributes(holder: Plain, under: string, label: string, defaults: IndicatorDefaults, sink: IndicatorSink): void {
  const attributes = own(holder, 'Attribute') ?? []
  if (!Array.isArray(attributes)) throw new IndicatorFileInvalid(`${under}/Attribute`, 'a list')
  for (const [index, value] of attributes.entries()) {
    const at = `${under}/Attribute/${index}`
    const attribute = plain(value, at)
    const type = textOf(attribute, 'type', at)
    if (!MISP_TYPES.has(type)) {
      sink.leaveOut(type.slice(0, 40))
      continue
    }
    const toIds = own(attribute, 'to_ids')
    if (toIds !== true && toIds !== '1') {
      sink.leaveOut('not to_ids')
      continue
    }
    const prefix = defaults.readPrefix(textOf(attribute, 'value', at).split('|', 1)[0]!)
    if (prefix === undefined) sink.leaveOut('no address')
    else sink.add({ prefix, confidence: defaults.confidence, expiresAtMs: defaults.nowMs + defaults.ttlMs, label })
  }
}
