/** The variables of SecLang that this engine fills, and lists of them as rules name them. */
import { compileXmlQuery, type XmlQuery } from './body/xml.ts'
import type { Entry, RequestState } from './state.ts'
import { Subject } from './subject.ts'
import { NameSelection } from './tx-table.ts'

interface Variable {
  /** Has members with names, so a selector makes sense. */
  readonly collection: boolean
  /** Rules can change it while they run. */
  readonly volatile: boolean
  read(state: RequestState): readonly Entry[]
  /** The text of a variable that is no collection and that rules change: nobody keeps an entry of it. */
  readonly text?: ((state: RequestState) => string) | undefined
  /** One member by its name in lower case, where that is less work than reading all. */
  readonly member?: (state: RequestState, lower: string) => string | undefined
  /** Reads members by a test of their names in lower case, likewise. */
  readonly some?: (selects: (lower: string) => boolean) => Read
}

type Read = (state: RequestState) => readonly Entry[]

/** What many requests have none of; a list of variables that come of nothing else is empty for them. Bits of `RequestState.present`. */
export const SOURCES = { always: 1, args: 2, cookies: 4, files: 8, partHeaders: 16, unparsed: 32, xml: 64 } as const

const SOURCE_OF: Readonly<Record<string, number>> = {
  ARGS: SOURCES.args,
  ARGS_NAMES: SOURCES.args,
  ARGS_GET: SOURCES.args,
  ARGS_GET_NAMES: SOURCES.args,
  ARGS_POST: SOURCES.args,
  ARGS_POST_NAMES: SOURCES.args,
  FILES: SOURCES.files,
  FILES_NAMES: SOURCES.files,
  FILES_SIZES: SOURCES.files,
  FILES_TMP_CONTENT: SOURCES.files,
  UPLOADS: SOURCES.files,
  MULTIPART_FILENAME: SOURCES.files,
  MULTIPART_NAME: SOURCES.files,
  MULTIPART_PART_HEADERS: SOURCES.partHeaders,
  REQUEST_COOKIES: SOURCES.cookies,
  REQUEST_COOKIES_NAMES: SOURCES.cookies,
  UNPARSED_BODY: SOURCES.unparsed,
  XML: SOURCES.xml,
}

/** Bits of single header fields that rules ask for and many requests are without; names in lower case. */
export const HEADER_SOURCES: ReadonlyMap<string, number> = new Map(
  [
    'accept',
    'accept-charset',
    'accept-encoding',
    'authorization',
    'connection',
    'content-encoding',
    'content-length',
    'content-type',
    'cookie',
    'expect',
    'host',
    'if',
    'proxy',
    'range',
    'referer',
    'request-range',
    'transfer-encoding',
    'user-agent',
    'x-filename',
    'x-file-name',
    'x_filename',
    'x-up-devcap-post-charset',
    'x.filename',
  ].map((name, i) => [name, SOURCES.xml << (i + 1)]),
)

function sourceOf({ collection: name, count, exact }: Target): number {
  if (count) return SOURCES.always
  if (name === 'REQUEST_HEADERS') return HEADER_SOURCES.get(exact ?? '') ?? SOURCES.always
  return SOURCE_OF[name] ?? SOURCES.always
}

let slots = 0

/** Reads once a phase: rules cannot change it while they run. */
function once(read: Read): Read {
  const slot = slots++
  return (state) => state.once(slot, read)
}

const NOTHING: readonly Entry[] = []

function scalar(name: string, read: (state: RequestState) => string, volatile = false): readonly [string, Variable] {
  const entry: Read = (state) => [{ collection: name, name: '', lower: '', subject: state.memo.of(read(state)) }]
  return [
    name,
    {
      collection: false,
      volatile,
      read: volatile ? entry : once(entry),
      text: volatile ? read : undefined,
    },
  ]
}

function collection(name: string, read: Read, volatile = false): readonly [string, Variable] {
  return [name, { collection: true, volatile, read }]
}

function named(label: string, read: Read): readonly [string, Variable] {
  const names: Read = (state) =>
    read(state).map(({ name, lower }) => ({ collection: label, name, lower, subject: state.memo.of(name) }))
  return collection(label, once(names))
}

/** `ENV`, `GEO`: values kept by name. */
function table(label: string, of: (state: RequestState) => ReadonlyMap<string, string> | undefined): readonly [string, Variable] {
  return [
    label,
    {
      collection: true,
      volatile: true,
      read: (state) => members(label, of(state) ?? NO_TABLE),
      member: (state, lower) => of(state)?.get(lower),
    },
  ]
}

function members(label: string, pairs: Iterable<readonly [name: string, value: string]>): readonly Entry[] {
  return Array.from(pairs, ([name, value]) => ({ collection: label, name, lower: name, subject: new Subject(value) }))
}

const tx: Variable = {
  collection: true,
  volatile: true,
  read: (state) => members('TX', state.tx.entries()),
  member: (state, lower) => state.tx.get(lower),
  some(selects) {
    const selection = new NameSelection(selects)
    return (state) => {
      const found = state.tx.matching(selection)
      return found.length === 0 ? NOTHING : members('TX', found)
    }
  },
}

function persistent(kind: string): readonly [string, Variable] {
  return [
    kind,
    {
      collection: true,
      volatile: true,
      read: (state) =>
        (state.persistent.get(kind)?.entries(state.now()) ?? []).map(([name, value]) => ({
          collection: kind,
          name,
          lower: name,
          subject: new Subject(value),
        })),
      member: (state, lower) => state.persistent.get(kind)?.get(lower, state.now()),
    },
  ]
}

/** The moment of a request in UTC, cut out of its ISO form. */
function time(name: string, of: (date: Date) => string): readonly [string, Variable] {
  return scalar(name, (state) => of(new Date(state.now())), true)
}

const NO_TABLE: ReadonlyMap<string, string> = new Map()

const args: Read = once((state) => {
  if (state.argsPost.length === 0) return state.argsGet
  return state.argsGet.length === 0 ? state.argsPost : [...state.argsGet, ...state.argsPost]
})

const flag = (test: boolean): string => (test ? '1' : '0')

const MULTIPART_FLAGS = [
  'BOUNDARY_QUOTED',
  'BOUNDARY_WHITESPACE',
  'DATA_BEFORE',
  'DATA_AFTER',
  'HEADER_FOLDING',
  'INVALID_HEADER_FOLDING',
  'LF_LINE',
  'CRLF_LF_LINES',
  'MISSING_SEMICOLON',
  'INVALID_QUOTING',
  'INVALID_PART',
  'UNMATCHED_BOUNDARY',
  'FILE_LIMIT_EXCEEDED',
] as const

/** By name in upper case. */
export const VARIABLES: ReadonlyMap<string, Variable> = new Map<string, Variable>([
  collection('ARGS', args),
  collection('ARGS_GET', (state) => state.argsGet),
  collection('ARGS_POST', (state) => state.argsPost),
  named('ARGS_NAMES', (state) => (state.argsArrays.length === 0 ? args(state) : [...args(state), ...state.argsArrays])),
  named('ARGS_GET_NAMES', (state) => state.argsGet),
  named('ARGS_POST_NAMES', (state) => [...state.argsPost, ...state.argsArrays]),
  scalar('ARGS_COMBINED_SIZE', (state) =>
    String(args(state).reduce((sum, { name, subject }) => sum + name.length + subject.text.length, 0)),
  ),
  scalar('AUTH_TYPE', (state) => /^[^\s]{1,32}/.exec(state.header('authorization') ?? '')?.[0] ?? ''),
  scalar('DURATION', (state) => String(Math.round((state.now() - state.beganAtMs) * 1_000)), true),
  table('ENV', (state) => state.env),
  collection('FILES', (state) => state.files),
  scalar('FILES_COMBINED_SIZE', (state) => String(state.uploads.reduce((sum, { bytes }) => sum + bytes, 0))),
  named('FILES_NAMES', (state) => state.files),
  collection('FILES_SIZES', (state) => state.fileEntries('FILES_SIZES', ({ bytes }) => String(bytes))),
  collection('UPLOADS', (state) => state.uploadedContents()),
  collection('FILES_TMP_CONTENT', (state) => state.fileEntries('FILES_TMP_CONTENT', ({ content }) => content)),
  scalar('FULL_REQUEST', (state) => state.fullRequest()),
  scalar('FULL_REQUEST_LENGTH', (state) => String(state.fullRequest().length)),
  table('GEO', (state) => state.geo),
  persistent('GLOBAL'),
  scalar('HIGHEST_SEVERITY', (state) => String(state.highestSeverity), true),
  scalar('INBOUND_DATA_ERROR', (state) => flag(state.bodyTruncated)),
  persistent('IP'),
  scalar('MATCHED_VAR', (state) => state.matched?.subject.text ?? '', true),
  collection('MATCHED_VARS', (state) => state.matchedVars.map(selectable), true),
  [
    'MATCHED_VARS_NAMES',
    {
      collection: true,
      volatile: true,
      read: (state) => state.matchedVars.map((entry) => ({ ...selectable(entry), subject: state.memo.of(entryLabel(entry)) })),
    },
  ],
  scalar('MATCHED_VAR_NAME', (state) => (state.matched === undefined ? '' : entryLabel(state.matched)), true),
  scalar('MODSEC_BUILD', () => '030000999'),
  ...MULTIPART_FLAGS.map((name) => scalar(`MULTIPART_${name}`, (state) => flag(state.multipartFlags.has(name)))),
  collection('MULTIPART_FILENAME', (state) => state.files),
  named('MULTIPART_NAME', (state) => state.files),
  collection('MULTIPART_PART_HEADERS', (state) => state.partHeaders),
  scalar('MULTIPART_STRICT_ERROR', (state) => flag(state.bodyStrictError !== '')),
  scalar('OUTBOUND_DATA_ERROR', (state) => flag(state.responseTruncated)),
  scalar('PATH_INFO', (state) => state.path),
  scalar('QUERY_STRING', (state) => state.query),
  scalar('REMOTE_ADDR', (state) => state.remoteAddress),
  scalar('REMOTE_HOST', (state) => state.remoteAddress),
  scalar('REMOTE_PORT', (state) => String(state.remotePort)),
  scalar('REMOTE_USER', (state) => state.remoteUser()),
  scalar('REQBODY_ERROR', (state) => flag(state.bodyError !== '')),
  scalar('REQBODY_ERROR_MSG', (state) => state.bodyError),
  scalar('REQBODY_PROCESSOR', (state) => state.bodyProcessor, true),
  scalar('REQBODY_PROCESSOR_ERROR', (state) => flag(state.bodyError !== '')),
  scalar('REQBODY_PROCESSOR_ERROR_MSG', (state) => state.bodyError),
  scalar('REQUEST_BASENAME', (state) => state.path.slice(state.path.lastIndexOf('/') + 1)),
  // As in ModSecurity's reference: of a form, or when it is forced; beyond it, of a type that no parser knows.
  scalar('REQUEST_BODY', (state) =>
    state.bodyForced || state.bodyProcessor === 'URLENCODED' || state.bodyProcessor === '' ? state.bodyText : '',
  ),
  scalar('REQUEST_BODY_LENGTH', (state) => String(state.bodyBytes)),
  collection('REQUEST_COOKIES', (state) => state.cookies),
  named('REQUEST_COOKIES_NAMES', (state) => state.cookies),
  scalar('REQUEST_FILENAME', (state) => state.path),
  // Ours: the path with its escapes, where ModSecurity has only REQUEST_URI_RAW, which goes on with the query.
  scalar('REQUEST_FILENAME_RAW', (state) => state.rawPath),
  collection('REQUEST_HEADERS', (state) => state.headers),
  named('REQUEST_HEADERS_NAMES', (state) => state.headers),
  scalar('REQUEST_LINE', (state) => `${state.method} ${state.target} ${state.protocol}`),
  scalar('REQUEST_METHOD', (state) => state.method),
  scalar('REQUEST_PROTOCOL', (state) => state.protocol),
  scalar('REQUEST_URI', (state) => (state.query === '' ? state.rawPath : `${state.rawPath}?${state.query}`)),
  scalar('REQUEST_URI_RAW', (state) => state.target),
  persistent('RESOURCE'),
  scalar('RESPONSE_BODY', (state) => state.responseText),
  scalar('RESPONSE_CONTENT_LENGTH', (state) => String(state.responseBytes)),
  scalar('RESPONSE_CONTENT_TYPE', (state) => state.responseType),
  collection('RESPONSE_HEADERS', (state) => state.responseHeaders),
  named('RESPONSE_HEADERS_NAMES', (state) => state.responseHeaders),
  scalar('RESPONSE_PROTOCOL', (state) => state.responseProtocol),
  scalar('RESPONSE_STATUS', (state) => state.responseStatus),
  [
    'RULE',
    {
      collection: true,
      volatile: true,
      read: (state) => ['id', 'msg', 'severity', 'rev', 'ver'].flatMap((name) => state.ruleEntry(name) ?? []),
      member: (state, lower) => state.ruleEntry(lower)?.subject.text,
    },
  ],
  scalar('SERVER_ADDR', (state) => state.serverAddress),
  scalar('SERVER_NAME', (state) => state.serverName()),
  scalar('SERVER_PORT', (state) => String(state.serverPort)),
  persistent('SESSION'),
  scalar('SESSIONID', (state) => state.sessionId, true),
  scalar('STATUS_LINE', (state) => `${state.responseProtocol} ${state.responseStatus}`),
  time('TIME', (date) => date.toISOString().slice(11, 19)),
  time('TIME_DAY', (date) => String(date.getUTCDate())),
  time('TIME_EPOCH', (date) => String(Math.floor(date.getTime() / 1_000))),
  time('TIME_HOUR', (date) => String(date.getUTCHours())),
  time('TIME_MIN', (date) => String(date.getUTCMinutes())),
  time('TIME_MON', (date) => String(date.getUTCMonth())),
  time('TIME_SEC', (date) => String(date.getUTCSeconds())),
  time('TIME_WDAY', (date) => String(date.getUTCDay())),
  time('TIME_YEAR', (date) => String(date.getUTCFullYear())),
  ['TX', tx],
  scalar('UNIQUE_ID', (state) => state.uniqueId),
  // Ours: text of a body that no parser took apart. ModSecurity has only REQUEST_BODY, which repeats what ARGS holds.
  collection('UNPARSED_BODY', (state) => state.unparsed),
  scalar('URLENCODED_ERROR', (state) => flag(state.malformedEscapes)),
  persistent('USER'),
  scalar('USERID', (state) => state.userId, true),
  scalar('WEBAPPID', (state) => state.webAppId),
  // Without an XPath expression: every text and attribute value alone.
  collection('XML', (state) => state.xmlValues()),
])

export function isMacroCollection(name: string): boolean {
  return VARIABLES.has(name)
}

/** Members of MATCHED_VARS are selected by their whole name, e.g. `MATCHED_VARS:ARGS:q`. */
function selectable(entry: Entry): Entry {
  return { ...entry, lower: entryLabel(entry).toLowerCase() }
}

/** `ARGS:q`, or the bare name for what is not a member of a collection. */
export function entryLabel({ collection: name, name: member }: Entry): string {
  return member === '' ? name : `${name}:${member}`
}

/** The first value of a variable, for macros. */
export function scalarText(state: RequestState, name: string, key: string | undefined): string | undefined {
  const variable = VARIABLES.get(name)
  if (variable === undefined) return undefined
  if (key !== undefined && variable.member !== undefined) return variable.member(state, key)
  if (key === undefined && variable.text !== undefined) return variable.text(state)
  const entries = variable.read(state)
  return (key === undefined ? entries[0] : entries.find(({ lower }) => lower === key))?.subject.text
}

/** Variables as one rule names them. */
export interface TargetList {
  readonly index: number
  readonly volatile: boolean
  readonly parts: readonly Part[]
  /** Of `SOURCES`: without any of these in a request there is nothing to gather. */
  readonly sources: number
  gather(state: RequestState): readonly Entry[]
  /** The members of `TX` that it reads, where it reads nothing else. */
  readonly txNames: readonly string[] | undefined
  /** Set when the list is the one member `name` of `TX`, which most rules of a scoring rule set look at. */
  readonly txName: string | undefined
  /** It is asked whether it is there (`&TX:name`), not what it holds. */
  readonly txCounted: boolean
}

/** One variable of a list, less what the list excludes from it; the same for all lists that have it so. */
export interface Part {
  readonly index: number
  /** Of `SOURCES`. */
  readonly source: number
  readonly read: Read
}

/** One variable of a list. Selectors are compared in lower case. */
export interface Target {
  /** As it is written. */
  readonly key: string
  readonly collection: string
  readonly count: boolean
  readonly exclude: boolean
  readonly selects: ((lower: string) => boolean) | undefined
  /** The name, where the selector is one. */
  readonly exact: string | undefined
  readonly query: XmlQuery | undefined
}

/** @returns undefined for an XPath expression that is not understood. */
export function xmlQuery(expression: string): XmlQuery | undefined {
  return compileXmlQuery(expression)
}

/** @param numbered Gives a number of its own to what is not known by its key yet. */
export function targetList(
  index: number,
  targets: readonly Target[],
  numbered: (key: string, make: (index: number) => Part) => Part,
): TargetList {
  const excluded = targets.filter(({ exclude }) => exclude)
  const included = targets.filter(({ exclude }) => !exclude)
  const parts = included.map((target) => {
    const removed = excluded.filter((other) => other.collection === target.collection)
    const key = [target, ...removed].map((each) => each.key).join('|')
    return numbered(key, (place) => ({ index: place, source: sourceOf(target), read: reader(target, removed) }))
  })
  const only = targets.length === 1 ? targets[0]! : undefined
  const volatile = targets.some(({ collection: name }) => VARIABLES.get(name)!.volatile)
  return {
    index,
    volatile,
    parts,
    sources: parts.reduce((all, { source }) => all | source, 0),
    gather: volatile ? (state) => joined(parts, state, readPart) : (state) => joined(parts, state, entriesOf),
    txNames: targets.every(isMemberOfTx) ? targets.map(({ exact }) => exact!) : undefined,
    txName: only?.collection === 'TX' ? only.exact : undefined,
    txCounted: only?.count ?? false,
  }
}

function readPart(state: RequestState, part: Part): readonly Entry[] {
  return part.read(state)
}

function entriesOf(state: RequestState, part: Part): readonly Entry[] {
  return state.entriesOf(part)
}

function isMemberOfTx({ collection: name, exact, exclude }: Target): boolean {
  return name === 'TX' && exact !== undefined && !exclude
}

function joined(
  parts: readonly Part[],
  state: RequestState,
  entriesOfPart: (state: RequestState, part: Part) => readonly Entry[],
): readonly Entry[] {
  if (parts.length === 1) return entriesOfPart(state, parts[0]!)
  let out: readonly Entry[] = NOTHING
  let own: Entry[] | undefined
  for (let i = 0; i < parts.length; i += 1) {
    const part = parts[i]!
    if ((part.source & state.present) === 0) continue
    const entries = entriesOfPart(state, part)
    if (entries.length === 0) continue
    if (out.length === 0) {
      out = entries
      continue
    }
    if (own === undefined) out = own = out.slice()
    for (const entry of entries) own.push(entry)
  }
  return out
}

/** Members of one name: mostly there is none, or one. */
function ofName(entries: readonly Entry[], name: string): readonly Entry[] {
  let found: Entry[] | undefined
  for (let i = 0; i < entries.length; i += 1) {
    const entry = entries[i]!
    if (entry.lower !== name) continue
    if (found === undefined) found = [entry]
    else found.push(entry)
  }
  return found ?? NOTHING
}

/** One variable less what is removed from it. */
function reader({ collection: name, count, selects, exact, query }: Target, removed: readonly Target[]): Read {
  const variable = VARIABLES.get(name)!
  const counted = (state: RequestState, members: number): readonly Entry[] => [
    { collection: `&${name}`, name: '', lower: '', subject: state.memo.of(String(members)) },
  ]
  const { member } = variable
  if (exact !== undefined && member !== undefined && removed.length === 0) {
    return (state) => {
      const value = member(state, exact)
      if (count) return counted(state, value === undefined ? 0 : 1)
      return value === undefined ? [] : [{ collection: name, name: exact, lower: exact, subject: new Subject(value) }]
    }
  }
  const read: Read =
    query === undefined
      ? variable.read
      : (state) => query(state.xml).map((value) => ({ collection: name, name: '', lower: '', subject: state.memo.of(value) }))
  const { some } = variable
  if (some !== undefined && selects !== undefined && removed.length === 0) {
    const selected = some(selects)
    return count ? (state) => counted(state, selected(state).length) : selected
  }
  if (exact !== undefined && removed.length === 0 && !count && query === undefined) return (state) => ofName(read(state), exact)
  if (selects === undefined && removed.length === 0) return count ? (state) => counted(state, read(state).length) : read
  return (state) => {
    const all = read(state)
    if (all.length === 0) return count ? counted(state, 0) : NOTHING
    const kept = all.filter(
      ({ lower }) =>
        (selects === undefined || selects(lower)) &&
        !removed.some((target) => target.selects === undefined || target.selects(lower)),
    )
    return count ? counted(state, kept.length) : kept
  }
}
