/** Everything known about one request while rules run over it. */
import type { Automaton } from './automaton.ts'
import { parseCookies } from './body/cookies.ts'
import { parseForm } from './body/form.ts'
import type { MultipartFlag, UploadedFile } from './body/multipart.ts'
import { bodyProcessor, type ParsedBody } from './body/request-body.ts'
import { NO_XML, type XmlDocument } from './body/xml.ts'
import { toByteText } from './bytes.ts'
import {
  ARGS_MAX,
  EXPANDED_CHARS_MAX,
  FILE_CONTENT_BYTES_MAX,
  FIRST_BUILDING_WORK_MAX,
  HEADERS_MAX,
  MATCHED_VARS_MAX,
  PARSER_WORK_FACTOR,
  SIFTED_VALUES_MIN,
  SLICE_STRETCH_BYTES,
  TX_VARIABLES_MAX,
} from './limits.ts'
import type { LongText } from './long-text.ts'
import type { Expandable } from './macro.ts'
import type { OperatorContext } from './operators/operator.ts'
import type { CompiledRule } from './rule.ts'
import type { Settings } from './settings.ts'
import { addSlots, hasSlot, haveCommonSlot, NO_SLOTS, type Slots } from './slots.ts'
import type { Bits, Subject, SubjectMemo, TransformationChain } from './subject.ts'
import { base64Decode } from './transformations/base64-decode.ts'
import { trim } from './transformations/blanks.ts'
import { percentDecode } from './transformations/url-decode.ts'
import { TxTable } from './tx-table.ts'
import type { PersistentCollection, WafEnvironment, WafRequest, WafResponse } from './types.ts'
import { type PatternUnion, UNIONS_MAX } from './unions.ts'
import { HEADER_SOURCES, type Part, SOURCES, scalarText, type TargetList } from './variables.ts'

/** One value that rules look at. */
export interface Entry {
  /** As in reports, e.g. `ARGS`. */
  readonly collection: string
  /** Empty for a variable that is not a collection. */
  readonly name: string
  /** `name` in lower case: selectors ignore case. */
  readonly lower: string
  readonly subject: Subject
}

/** How many of each a rule set has. */
export interface ProgramSizes {
  readonly lists: number
  readonly parts: number
  readonly pairs: number
  readonly links: number
  /** Of all pairs. */
  readonly chains: readonly TransformationChain[]
  readonly noLinks: Readonly<Bits>
  readonly allLinks: Readonly<Bits>
  /** Those that need a literal, by slot of the automaton. */
  readonly linksOfSlots: readonly Readonly<Bits>[]
  readonly otherLinks: Readonly<Bits>
}

/** What is known of the values of a part of lists without asking for a chain. */
export interface Screen {
  /** The literals that those which are known have, whatever chain they go through. */
  readonly slots: Slots
  /** The others: long ones, and those of a long body that are new. */
  readonly strangers: readonly Entry[]
}

/** Which literals the values of a part have after a chain. */
interface Sieve {
  readonly entries: readonly Entry[]
  readonly founds: readonly Slots[]
  /** Of any of them. */
  readonly all: Slots
  /** Those with a slot that somebody asked for: rules share literals. */
  readonly bySlot: Map<number, readonly Entry[]>
}

const NOTHING_TO_SEE: Screen = { slots: NO_SLOTS, strangers: [] }

const NONE: readonly Entry[] = []
const NO_FLAGS: ReadonlySet<MultipartFlag> = new Set()

export class RequestState implements OperatorContext {
  readonly memo: SubjectMemo
  readonly automaton: Automaton
  readonly environment: WafEnvironment | undefined
  readonly tx: TxTable
  readonly beganAtMs: number
  readonly webAppId: string
  readonly #separator: string
  work = 0
  building = 0
  spared = FIRST_BUILDING_WORK_MAX
  capturing = false
  long: LongText | undefined
  /** A bound of the input was exceeded; said in a few words. */
  over: string | undefined

  method = ''
  target = ''
  /** As it was sent, and with its escapes decoded once. */
  rawPath = ''
  path = ''
  query = ''
  protocol = ''
  remoteAddress = ''
  remotePort = 0
  serverAddress = ''
  serverPort = 0
  bodyText = ''
  bodyBytes = 0
  bodyProcessor = ''
  bodyError = ''
  bodyStrictError = ''
  bodyTruncated = false
  bodyForced = false
  malformedEscapes = false

  argsGet: readonly Entry[] = NONE
  argsPost: readonly Entry[] = NONE
  /** Names of JSON arrays. */
  argsArrays: readonly Entry[] = NONE
  headers: readonly Entry[] = NONE
  cookies: readonly Entry[] = NONE
  files: readonly Entry[] = NONE
  uploads: readonly UploadedFile[] = []
  /** The beginning of a body that is a file by itself. */
  #uploaded = ''
  partHeaders: readonly Entry[] = NONE
  multipartFlags: ReadonlySet<MultipartFlag> = NO_FLAGS
  unparsed: readonly Entry[] = NONE
  xml: XmlDocument = NO_XML

  responseStatus = ''
  responseProtocol = ''
  #responseFields: WafResponse['headers'] = []
  #responseHeaders: readonly Entry[] | undefined
  responseType = ''
  responseText = ''
  responseBytes = 0
  responseTruncated = false

  env: Map<string, string> | undefined
  geo: ReadonlyMap<string, string> | undefined
  readonly persistent = new Map<string, PersistentCollection>()
  sessionId = ''
  userId = ''

  /** The last match: its text is what the operator saw. */
  matched: Entry | undefined
  /** The same as it came in; nothing while the rule that runs has matched nothing. */
  matchedRaw: Entry | undefined
  matchedVars: readonly Entry[] = NONE
  rule: CompiledRule | undefined
  /** 0 is the gravest; 255: nothing matched that has one. */
  highestSeverity = 255

  readonly sizes: ProgramSizes
  /** Of `SOURCES`: what this request has any of. */
  present: number = SOURCES.always
  #headerSources = 0
  /** Something was read that variables hold. */
  #isNew = true
  #once: (readonly Entry[] | undefined)[] = []
  #gathered: (readonly Entry[] | undefined)[] = []
  #entries: (readonly Entry[] | undefined)[] = []
  #screens: (Screen | undefined)[] = []
  /** By part and chain. */
  #sieves: (Sieve | undefined)[] = []
  /** By list, chain and union: most requests have too few values for it. */
  #left: Map<number, { readonly entries: readonly Entry[]; readonly left: readonly Entry[] }> | undefined
  #found: (Slots | undefined)[] = []
  #quiet: (Readonly<Bits> | undefined)[] = []
  #links: Bits | undefined

  constructor(
    memo: SubjectMemo,
    automaton: Automaton,
    settings: Settings,
    sizes: ProgramSizes,
    environment: WafEnvironment | undefined,
    tx: ReadonlyMap<string, string>,
  ) {
    this.memo = memo
    this.sizes = sizes
    this.automaton = automaton
    this.environment = environment
    this.tx = new TxTable(tx)
    this.beganAtMs = environment?.clock() ?? 0
    this.webAppId = settings.webAppId
    this.#separator = settings.argumentSeparator
  }

  now(): number {
    return this.environment?.clock() ?? 0
  }

  get uniqueId(): string {
    return this.environment?.uniqueId ?? ''
  }

  readHead(request: WafRequest): void {
    this.method = toByteText(request.method)
    this.target = toByteText(request.target)
    this.protocol = toByteText(request.protocol ?? `HTTP/${request.httpVersion}`)
    this.remoteAddress = request.remoteAddress
    this.remotePort = request.remotePort ?? 0
    this.serverAddress = request.serverAddress ?? ''
    this.serverPort = request.serverPort ?? 0
    const local = originForm(this.target)
    const question = local.indexOf('?')
    this.rawPath = question < 0 ? local : local.slice(0, question)
    this.path = percentDecode(this.rawPath)
    this.query = question < 0 ? '' : local.slice(question + 1)
    const form = parseForm(this.query, this.#separator)
    if (form.over) this.over = 'too many arguments'
    this.malformedEscapes = form.malformed
    this.argsGet = form.fields.map(([name, value]) => this.#entry('ARGS', name, value))
    this.#readHeaders(request)
    this.bodyProcessor = bodyProcessor(this.header('content-type') ?? '')
  }

  #readHeaders(request: WafRequest): void {
    const headers: Entry[] = []
    const cookies: Entry[] = []
    for (const [name, value] of request.headers) {
      if (headers.length === HEADERS_MAX) {
        this.over = 'too many header fields'
        break
      }
      const entry = this.#entry('REQUEST_HEADERS', toByteText(name), toByteText(value))
      headers.push(entry)
      this.#headerSources |= HEADER_SOURCES.get(entry.lower) ?? 0
      if (entry.lower !== 'cookie') continue
      this.work += entry.subject.text.length * PARSER_WORK_FACTOR
      const { pairs, over } = parseCookies(entry.subject.text)
      if (over) this.over = 'too many cookies'
      for (const [key, text] of pairs) cookies.push(this.#entry('REQUEST_COOKIES', key, text))
    }
    this.headers = headers
    this.cookies = cookies
  }

  readBody(text: string, body: ParsedBody, truncated: boolean): void {
    this.#isNew = true
    this.bodyText = body.opaque ? '' : text
    this.#uploaded = body.opaque ? text.slice(0, FILE_CONTENT_BYTES_MAX) : ''
    this.bodyBytes = text.length
    this.bodyProcessor = body.processor
    this.bodyError = body.error ?? ''
    this.bodyStrictError = body.strictError ?? ''
    this.bodyTruncated = truncated
    this.malformedEscapes ||= body.malformedEscapes
    if (body.over) this.over = 'too many arguments'
    this.argsPost = body.fields.map(([name, value]) => this.#entry('ARGS', name, value))
    this.argsArrays = body.arrays.map((name) => this.#entry('ARGS', name, name))
    this.uploads = body.files
    this.files = body.files.map(({ name, fileName }) => this.#entry('FILES', name, fileName))
    this.partHeaders = body.partHeaders.map(([name, line]) => this.#entry('MULTIPART_PART_HEADERS', name, line))
    this.multipartFlags = body.flags
    this.unparsed = body.unparsed === '' ? NONE : [this.#entry('UNPARSED_BODY', '', body.unparsed)]
    this.xml = body.xml
  }

  readResponseHead({ status, protocol, headers }: WafResponse): void {
    this.#isNew = true
    this.responseStatus = String(status)
    this.responseProtocol = toByteText(protocol)
    this.#responseFields = headers
    this.#responseHeaders = undefined
    const type = toByteText(fieldOf(headers, 'content-type') ?? '')
    const semicolon = type.indexOf(';')
    this.responseType = trim(semicolon < 0 ? type : type.slice(0, semicolon))
    this.responseBytes = Number(fieldOf(headers, 'content-length') ?? 0) || 0
  }

  /** Made when a rule asks: few do. */
  get responseHeaders(): readonly Entry[] {
    return (this.#responseHeaders ??= this.#responseFields
      .slice(0, HEADERS_MAX)
      .map(([name, value]) => this.#entry('RESPONSE_HEADERS', toByteText(name), toByteText(value))))
  }

  readResponseBody(text: string, truncated: boolean): void {
    this.#isNew = true
    this.responseText = text
    this.responseBytes ||= text.length
    this.responseTruncated = truncated
  }

  fileEntries(collection: string, value: (file: UploadedFile) => string): readonly Entry[] {
    return this.uploads.map((file) => this.#entry(collection, file.name, value(file)))
  }

  /** What files hold, whether they came in a form or as the whole body. */
  uploadedContents(): readonly Entry[] {
    const files = this.fileEntries('UPLOADS', ({ content }) => content)
    return this.#uploaded === '' ? files : [...files, this.#entry('UPLOADS', '', this.#uploaded)]
  }

  xmlValues(): readonly Entry[] {
    const { texts, attributes } = this.xml
    const values = [...texts.map(({ value }) => trim(value)), ...attributes.map(({ value }) => value), ...this.xml.declarations]
    return values
      .filter((value) => value !== '')
      .slice(0, ARGS_MAX)
      .map((value) => this.#entry('XML', '', value))
  }

  fullRequest(): string {
    const fields = this.headers.map(({ name, subject }) => `${name}: ${subject.text}\r\n`).join('')
    return `${this.method} ${this.target} ${this.protocol}\r\n${fields}\r\n${this.bodyText}`
  }

  /** The user of HTTP Basic authentication (RFC 7617). */
  remoteUser(): string {
    const basic = /^basic[ \t]+([A-Za-z0-9+/=]{1,512})[ \t]*$/i.exec(this.header('authorization') ?? '')
    return basic === null ? '' : (base64Decode(basic[1]!).split(':', 1)[0] ?? '')
  }

  serverName(): string {
    const host = this.header('host') ?? ''
    return host.replace(/:\d{1,5}$/, '')
  }

  ruleEntry(name: string): Entry | undefined {
    const { rule } = this
    if (rule === undefined) return undefined
    const value =
      name === 'id'
        ? String(rule.id)
        : name === 'msg'
          ? this.expand(rule.message)
          : name === 'severity'
            ? rule.level === undefined
              ? ''
              : String(rule.level)
            : name === 'rev'
              ? rule.rev
              : name === 'ver'
                ? rule.ver
                : name === 'logdata'
                  ? this.expand(rule.logData)
                  : undefined
    return value === undefined ? undefined : this.#entry('RULE', name, value)
  }

  #entry(collection: string, name: string, value: string): Entry {
    return { collection, name, lower: name.toLowerCase(), subject: this.memo.of(value) }
  }

  header(name: string): string | undefined {
    return this.headers.find(({ lower }) => lower === name)?.subject.text
  }

  /** What a variable reads, for as long as a phase lasts. */
  once(slot: number, read: (state: RequestState) => readonly Entry[]): readonly Entry[] {
    return (this.#once[slot] ??= read(this))
  }

  /** The values of a list of variables; gathered once a phase unless rules can change them. */
  gather(list: TargetList): readonly Entry[] {
    if ((list.sources & this.present) === 0) return NONE
    if (list.volatile) return list.gather(this)
    return (this.#gathered[list.index] ??= list.gather(this))
  }

  /** The values of a part of lists that rules cannot change. */
  entriesOf(part: Part): readonly Entry[] {
    return (this.#entries[part.index] ??= part.read(this))
  }

  /** Grows by all that is done, also by what does not count as work. */
  get effort(): number {
    return this.work - this.spared
  }

  /** For whoever needs a set of links for a moment. */
  get links(): Bits {
    return (this.#links ??= this.sizes.noLinks.slice())
  }

  /** The links of which it is remembered that they match none of a part's values: all, where it has none. */
  quietIn(part: Part): Readonly<Bits> {
    return (this.#quiet[part.index] ??= (part.source & this.present) === 0 ? this.sizes.allLinks : this.#quietOf(part))
  }

  #quietOf(part: Part): Readonly<Bits> {
    const { allLinks, noLinks } = this.sizes
    const entries = this.entriesOf(part)
    const isShort = this.bodyBytes <= SLICE_STRETCH_BYTES
    let all: Readonly<Bits> = allLinks
    let own: Bits | undefined
    for (let k = 0; k < entries.length; k += 1) {
      const { subject } = entries[k]!
      if (!subject.settled && isShort && subject.remembered) this.#settle(subject)
      const { quiet } = subject
      if (quiet === undefined) return noLinks
      if (k === 0) {
        all = quiet
        continue
      }
      if (own === undefined) all = own = all.slice()
      for (let i = 0; i < own.length; i += 1) own[i]! &= quiet[i]!
    }
    return all
  }

  /** What operators need a literal for that does not occur says no. */
  #settle(subject: Subject): void {
    const { linksOfSlots, otherLinks, chains } = this.sizes
    const screen = subject.screen(chains, this.automaton, this)
    const live = otherLinks.slice()
    for (let word = 0; word < screen.length; word += 1) {
      for (let left = screen[word]!; left !== 0; left &= left - 1) {
        const links = linksOfSlots[word * 32 + 31 - Math.clz32(left & -left)]!
        for (let i = 0; i < live.length; i += 1) live[i]! |= links[i]!
      }
    }
    const quiet = (subject.quiet ??= this.sizes.noLinks.slice())
    for (let i = 0; i < live.length; i += 1) quiet[i]! |= ~live[i]!
    subject.settled = true
  }

  screenOf(part: Part): Screen {
    return (this.#screens[part.index] ??= (part.source & this.present) === 0 ? NOTHING_TO_SEE : this.#screen(part))
  }

  #screen(part: Part): Screen {
    let slots = NO_SLOTS
    let own: number[] | undefined
    let strangers: Entry[] | undefined
    // Of a long body, all chains of all values at once would take no pause.
    const isShort = this.bodyBytes <= SLICE_STRETCH_BYTES
    for (const entry of this.entriesOf(part)) {
      const { subject } = entry
      if (!subject.screened && !(isShort && subject.remembered)) {
        if (strangers === undefined) strangers = [entry]
        else strangers.push(entry)
        continue
      }
      const screen = subject.screen(this.sizes.chains, this.automaton, this)
      if (screen.length === 0) continue
      if (slots.length === 0) slots = screen
      else {
        if (own === undefined) slots = own = slots.slice()
        addSlots(own, screen)
      }
    }
    return { slots, strangers: strangers ?? NONE }
  }

  /** Those of a part's values, all or strangers, that have a literal of a slot once they went through a chain. */
  withSlot(part: Part, entries: readonly Entry[], chain: TransformationChain, slot: number): readonly Entry[] {
    const { founds, bySlot } = this.#sieveOf(part, entries, chain)
    const known = bySlot.get(slot)
    if (known !== undefined) return known
    this.work += founds.length
    let some: Entry[] | undefined
    for (let k = 0; k < founds.length; k += 1) {
      if (!hasSlot(founds[k]!, slot)) continue
      if (some === undefined) some = [entries[k]!]
      else some.push(entries[k]!)
    }
    bySlot.set(slot, some ?? NONE)
    return some ?? NONE
  }

  /** Those of a list's values that some pattern of a union may match once they went through a chain. */
  leftBy(union: PatternUnion, list: TargetList, entries: readonly Entry[], chain: TransformationChain): readonly Entry[] {
    const key = (list.index * this.sizes.chains.length + chain.index) * UNIONS_MAX + union.number
    this.#left ??= new Map()
    const known = this.#left.get(key)
    if (known?.entries === entries) return known.left
    this.work += entries.length
    const left = entries.filter(({ subject }) => !union.rulesOut(subject.through(chain, this), this))
    this.#left.set(key, { entries, left })
    return left
  }

  /** Many lists share parts, and many links chains. */
  #sieveOf(part: Part, entries: readonly Entry[], chain: TransformationChain): Sieve {
    const key = part.index * this.sizes.chains.length + chain.index
    const known = this.#sieves[key]
    if (known?.entries === entries) return known
    const founds = entries.map(({ subject }) => subject.through(chain, this).found(this.automaton, this))
    const all: number[] = []
    // Values that are like one another have often the same.
    let before = NO_SLOTS
    for (const found of founds) {
      if (found !== before) addSlots(all, found)
      before = found
    }
    return (this.#sieves[key] = { entries, founds, all, bySlot: new Map() })
  }

  /** Which literals that rules wait for occur in any value of a list, transformed by a chain. `pair` numbers the two together. */
  foundIn(pair: PairOfListAndChain): Slots {
    if ((pair.list.sources & this.present) === 0) return NO_SLOTS
    const known = this.#found[pair.index]
    if (known !== undefined) return known
    let all = NO_SLOTS
    let own: number[] | undefined
    const add = (found: Slots): void => {
      if (found === NO_SLOTS) return
      if (all === NO_SLOTS) all = found
      else {
        if (own === undefined) all = own = all.slice()
        addSlots(own, found)
      }
    }
    for (const part of pair.list.parts) {
      const { slots, strangers } = this.screenOf(part)
      const entries = haveCommonSlot(slots, pair.wanted) ? this.entriesOf(part) : strangers
      if (entries.length >= SIFTED_VALUES_MIN) add(this.#sieveOf(part, entries, pair.chain).all)
      else for (const { subject } of entries) add(subject.through(pair.chain, this).found(this.automaton, this))
    }
    return (this.#found[pair.index] = all)
  }

  /** What was gathered holds until something new has been read: most requests have no body, and phases share all of it. */
  beginPhase(): void {
    if (!this.#isNew) return
    this.#isNew = false
    this.present = this.#sources()
    this.#once = []
    this.#gathered = new Array(this.sizes.lists)
    this.#entries = new Array(this.sizes.parts)
    this.#screens = new Array(this.sizes.parts)
    this.#found = new Array(this.sizes.pairs)
    this.#quiet = new Array(this.sizes.parts)
  }

  #sources(): number {
    const { always, args, cookies, files, partHeaders, unparsed, xml } = SOURCES
    return (
      always |
      this.#headerSources |
      (this.argsGet.length + this.argsPost.length + this.argsArrays.length > 0 ? args : 0) |
      (this.cookies.length > 0 ? cookies : 0) |
      (this.uploads.length > 0 || this.#uploaded !== '' ? files : 0) |
      (this.partHeaders.length > 0 ? partHeaders : 0) |
      (this.unparsed.length > 0 ? unparsed : 0) |
      (this.xml === NO_XML ? 0 : xml)
    )
  }

  beginRule(rule: CompiledRule): void {
    this.rule = rule
    this.matchedVars = NONE
    this.matchedRaw = undefined
  }

  /** Remembers a match. `subject` is the text that the operator saw. */
  noteMatch(entry: Entry, subject: Subject): void {
    const seen = entry.subject === subject ? entry : { ...entry, subject }
    this.matched = seen
    this.matchedRaw = entry
    const kept = this.matchedVars as Entry[]
    if (kept === NONE) this.matchedVars = [seen]
    else if (kept.length < MATCHED_VARS_MAX) kept.push(seen)
  }

  capture(index: number, text: string): void {
    this.tx.set(CAPTURES[index]!, text)
  }

  captureLater(find: () => void): void {
    this.tx.captureLater(find)
  }

  /** Forgets captures of earlier rules from `index` on. */
  captured(index: number): void {
    for (let i = index; i < CAPTURES.length; i += 1) this.tx.delete(CAPTURES[i]!)
  }

  setTx(name: string, value: string): void {
    if (this.tx.size >= TX_VARIABLES_MAX && !this.tx.has(name)) this.over = 'too many transaction variables'
    else this.tx.set(name, value)
  }

  expand(macro: Expandable): string {
    if (macro.constant !== undefined) return macro.constant
    let text = ''
    for (const part of macro.parts) {
      const piece = typeof part === 'string' ? part : (scalarText(this, part.collection, part.key) ?? '')
      // Not the whole of a long value: joined, it would be copied to be cut.
      text += piece.length > EXPANDED_CHARS_MAX ? piece.slice(0, EXPANDED_CHARS_MAX) : piece
      if (text.length > EXPANDED_CHARS_MAX) return text.slice(0, EXPANDED_CHARS_MAX)
    }
    return text
  }
}

const CAPTURES = Array.from({ length: 10 }, (_, index) => String(index))

export interface PairOfListAndChain {
  readonly index: number
  readonly list: TargetList
  readonly chain: TransformationChain
  /** What rules wait for. */
  readonly wanted: Slots
}

/** The value of the first field of a name, among those that are looked at. `name` in lower case. */
function fieldOf(fields: WafResponse['headers'], name: string): string | undefined {
  const count = Math.min(fields.length, HEADERS_MAX)
  for (let i = 0; i < count; i += 1) {
    const [own, value] = fields[i]!
    if (own.length === name.length && own.toLowerCase() === name) return value
  }
  return undefined
}

/** The target without scheme and authority (RFC 9112 section 3.2.2) and without a fragment. */
function originForm(target: string): string {
  const hash = target.indexOf('#')
  const whole = hash < 0 ? target : target.slice(0, hash)
  const absolute = /^[A-Za-z][A-Za-z0-9+.-]{0,15}:\/\/[^/?]*/.exec(whole)
  return absolute === null ? whole : whole.slice(absolute[0].length) || '/'
}
