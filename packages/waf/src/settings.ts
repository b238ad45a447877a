/**
 * Directives that set something rather than say a rule. Each is done, or its value is one that asks for nothing beyond what
 * this engine does anyway; any other value is refused.
 */
import { RESPONSE_BODY_BYTES_MAX } from './limits.ts'
import { OperatorArgumentError } from './operators/operator.ts'
import { compilePattern } from './operators/rx.ts'
import type { Span } from './seclang/source-text.ts'

export type EngineMode = 'On' | 'Off' | 'DetectionOnly'

/** How a rule set works, beyond its rules. */
export interface Settings {
  readonly engine: EngineMode
  readonly requestBodyAccess: boolean
  /** Bytes; a longer body is refused or looked at in part. */
  readonly requestBodyLimit: number
  readonly requestBodyLimitAction: 'Reject' | 'ProcessPartial'
  readonly responseBodyAccess: boolean
  readonly responseBodyLimit: number
  readonly responseBodyLimitAction: 'Reject' | 'ProcessPartial'
  /** In lower case. */
  readonly responseBodyTypes: readonly string[]
  readonly argumentSeparator: string
  /** Seconds. */
  readonly collectionTimeout: number
  readonly webAppId: string
  /** Variables that a request's TX begins with. */
  readonly tx: readonly (readonly [name: string, value: string])[]
  readonly auditEngine: 'On' | 'Off' | 'RelevantOnly' | undefined
  readonly auditParts: string | undefined
  readonly auditRelevant: ((status: number) => boolean) | undefined
  readonly components: readonly string[]
  /** `SecUnicodeMapFile`: what `%uHHHH` stands for, by code point. */
  readonly unicodeMap: ReadonlyMap<number, number> | undefined
  /** `SecHtmlEntities`: which named references `t:htmlEntityDecode` knows. */
  readonly htmlEntities: 'Few' | 'All'
}

export const DEFAULT_SETTINGS: Settings = {
  engine: 'On',
  requestBodyAccess: true,
  requestBodyLimit: Number.POSITIVE_INFINITY,
  requestBodyLimitAction: 'Reject',
  responseBodyAccess: false,
  responseBodyLimit: RESPONSE_BODY_BYTES_MAX,
  responseBodyLimitAction: 'Reject',
  responseBodyTypes: ['text/plain', 'text/html'],
  argumentSeparator: '&',
  collectionTimeout: 3_600,
  webAppId: 'default',
  auditEngine: undefined,
  auditParts: undefined,
  auditRelevant: undefined,
  components: [],
  tx: [],
  unicodeMap: undefined,
  htmlEntities: 'Few',
}

type Change = Partial<Settings>
/** Finds a data file by the name that a rule gives it. */
export type DataFinder = (span: Span) => string
type Setter = (values: readonly Span[], before: Settings, data: DataFinder, head: Span) => Change

function one(values: readonly Span[], head: Span, expected: string): Span {
  if (values.length !== 1)
    head.fail(0, `${head.text} with ${values.length} values`, expected, 'Put quotes around a value with blanks.')
  return values[0]!
}

function choice<T extends string>(values: readonly Span[], head: Span, known: readonly T[]): T {
  const expected = `${known.slice(0, -1).join(', ')}${known.length > 1 ? ' or ' : ''}${known.at(-1)}`
  const value = one(values, head, expected)
  const found = known.find((word) => word.toLowerCase() === value.text.toLowerCase())
  return found ?? value.fail(0, `${head.text} ${value.text}`, expected, 'Choose one of them: this engine does nothing else.')
}

function count(values: readonly Span[], head: Span): number {
  const value = one(values, head, 'a number')
  if (!/^\d{1,12}$/.test(value.text)) value.fail(0, `the number ${value.text}`, 'digits', 'Correct it.')
  return Number(value.text)
}

const onOff =
  (change: (on: boolean) => Change): Setter =>
  (values, _, __, head) =>
    change(choice(values, head, ['On', 'Off']) === 'On')

const number =
  (change: (value: number) => Change): Setter =>
  (values, _, __, head) =>
    change(count(values, head))

/** What this engine never does, so that only its absence can be asked for. */
const only =
  (...known: readonly string[]): Setter =>
  (values, _, __, head) => {
    choice(values, head, known)
    return {}
  }

/** Bounds on work and memory: this engine has its own, which hold whatever is asked for. */
const bound: Setter = (values, _, __, head) => {
  count(values, head)
  return {}
}

const text: Setter = (values, _, __, head) => {
  one(values, head, 'one text')
  return {}
}

const LIMIT_ACTIONS = ['Reject', 'ProcessPartial'] as const

/** By name in lower case. */
const SETTERS: ReadonlyMap<string, Setter> = new Map<string, Setter>([
  ['secruleengine', (values, _, __, head) => ({ engine: choice(values, head, ['On', 'Off', 'DetectionOnly']) })],
  ['secrequestbodyaccess', onOff((requestBodyAccess) => ({ requestBodyAccess }))],
  ['secrequestbodylimit', number((requestBodyLimit) => ({ requestBodyLimit }))],
  ['secrequestbodylimitaction', (values, _, __, head) => ({ requestBodyLimitAction: choice(values, head, LIMIT_ACTIONS) })],
  ['secresponsebodyaccess', onOff((responseBodyAccess) => ({ responseBodyAccess }))],
  ['secresponsebodylimit', number((responseBodyLimit) => ({ responseBodyLimit: Math.min(responseBodyLimit, 16_777_216) }))],
  ['secresponsebodylimitaction', (values, _, __, head) => ({ responseBodyLimitAction: choice(values, head, LIMIT_ACTIONS) })],
  [
    'secresponsebodymimetype',
    (values, before) => ({
      responseBodyTypes: [...before.responseBodyTypes, ...values.map(({ text: type }) => type.toLowerCase())],
    }),
  ],
  ['secresponsebodymimetypesclear', () => ({ responseBodyTypes: [] })],
  [
    'secargumentseparator',
    (values, _, __, head) => {
      const value = one(values, head, 'one character')
      if (value.text.length !== 1) value.fail(0, `the separator ${value.text}`, 'one character', 'Use & or ;.')
      return { argumentSeparator: value.text }
    },
  ],
  ['seccollectiontimeout', number((collectionTimeout) => ({ collectionTimeout }))],
  ['secwebappid', (values, _, __, head) => ({ webAppId: one(values, head, 'one name').text })],
  [
    'secunicodemapfile',
    (values, _, data, head) => {
      if (values.length !== 2) head.fail(0, `${head.text} with ${values.length} values`, 'a file and a code page', 'Name both.')
      const [file, page] = values as [Span, Span]
      const unicodeMap = readUnicodeMap(data(file), page.text)
      if (unicodeMap === undefined)
        page.fail(0, `the code page ${page.text}`, `one that ${file.text} holds`, 'Code page 20127 is US-ASCII.')
      return { unicodeMap }
    },
  ],
  // Ours. Few: those of ModSecurity, for which the Core Rule Set's patterns are written.
  ['sechtmlentities', (values, _, __, head) => ({ htmlEntities: choice(values, head, ['Few', 'All']) })],
  [
    'seccomponentsignature',
    (values, { components }, _, head) => ({ components: [...components, one(values, head, 'one text').text] }),
  ],
  ['secsensorid', text],
  ['seccookieformat', only('0')],
  ['seccookiev0separator', only(';')],
  // What follows asks for what is so anyway, or sets bounds that are kept here in another way.
  ['secxmlexternalentity', only('Off')],
  ['secparsexmlintoargs', only('Off')],
  ['secstatusengine', only('Off')],
  ['secconnengine', only('Off')],
  ['seccontentinjection', only('Off')],
  ['secstreaminbodyinspection', only('Off')],
  ['secstreamoutbodyinspection', only('Off')],
  ['secdisablebackendcompression', only('Off')],
  ['sechashengine', only('Off')],
  [
    'secauditengine',
    (values, _, __, head) => ({
      auditEngine: choice<'On' | 'Off' | 'RelevantOnly'>(values, head, ['On', 'Off', 'RelevantOnly']),
    }),
  ],
  ['secauditlogtype', only('Serial')],
  ['secauditlogformat', only('JSON')],
  [
    'secauditlogparts',
    (values, _, __, head) => {
      const value = one(values, head, 'letters')
      if (!/^A[B-K]*Z$/i.test(value.text))
        value.fail(
          0,
          `the parts ${value.text}`,
          'letters from A to K that begin with A and end in Z',
          'Write for example ABCFHZ.',
        )
      return { auditParts: value.text.toUpperCase() }
    },
  ],
  [
    'secauditlogrelevantstatus',
    (values, _, __, head) => {
      const value = one(values, head, 'a pattern')
      const { regex } = statusPattern(value)
      return { auditRelevant: (status) => regex.test(String(status)) }
    },
  ],
  [
    'secauditlog',
    (values, _, __, head) =>
      one(values, head, 'one file').fail(
        0,
        'a file for the audit log',
        'it in the configuration of the node',
        'Remove it, and say audit: { file: ... } in node.yaml: a rule set is not to say where nodes write.',
      ),
  ],
  ['secuploadkeepfiles', only('Off')],
  ['sectmpsaveuploadedfiles', only('Off')],
  ['secinterceptonerror', only('Off')],
  ['secruleinheritance', only('On')],
  ['secdebugloglevel', only('0')],
  ['secrequestbodynofileslimit', bound],
  ['secrequestbodyinmemorylimit', bound],
  ['secrequestbodyjsondepthlimit', bound],
  ['secargumentslimit', bound],
  ['secuploadfilelimit', bound],
  ['secpcrematchlimit', bound],
  ['secpcrematchlimitrecursion', bound],
])

/** @returns What the directive changes; fails with its place when it is not done here. */
export function applySetting(settings: Settings, name: string, head: Span, values: readonly Span[], data: DataFinder): Settings {
  const setter = SETTERS.get(name)
  if (setter === undefined) {
    head.fail(
      0,
      `the directive ${head.text}`,
      'SecRule or another directive that packages/waf/README.md lists',
      name.startsWith('include')
        ? 'Name the folder of the rules, whose files are read in order.'
        : 'Remove it: this engine does not do what it asks for.',
    )
  }
  return { ...settings, ...setter!(values, settings, data, head) }
}

function statusPattern(value: Span): { readonly regex: RegExp } {
  try {
    return compilePattern(value.text)
  } catch (error) {
    if (error instanceof OperatorArgumentError) return value.fail(error.offset, error.message, error.expected, error.remedy)
    throw error
  }
}

/** One page of a `unicode.mapping` file: a line with the page's number, then pairs `HHHH:HH` up to the next empty line. */
function readUnicodeMap(file: string, page: string): ReadonlyMap<number, number> | undefined {
  const lines = file.split(/\r?\n/)
  const start = lines.findIndex((line) => new RegExp(`^${Number(page) || 0}(?:\\s|\\(|$)`).test(line))
  if (start < 0) return undefined
  const map = new Map<number, number>()
  for (let i = start + 1; i < lines.length && lines[i]!.trim() !== ''; i += 1) {
    for (const [, point, byte] of lines[i]!.matchAll(/\b([0-9a-fA-F]{4}):([0-9a-fA-F]{2})\b/g))
      map.set(Number.parseInt(point!, 16), Number.parseInt(byte!, 16))
  }
  return map.size === 0 ? undefined : map
}
