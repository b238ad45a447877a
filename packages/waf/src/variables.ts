/** The variables of SecLang that this engine fills, and lists of them as rules name them. */
import type { Entry, RequestState } from './state.ts'
import { Subject } from './subject.ts'

interface Variable {
  /** Has members with names, so a selector makes sense. */
  readonly collection: boolean
  /** Rules can change it while they run. */
  readonly volatile: boolean
  read(state: RequestState): readonly Entry[]
}

function scalar(name: string, read: (state: RequestState) => string, volatile = false): readonly [string, Variable] {
  return [
    name,
    {
      collection: false,
      volatile,
      read: (state) => [{ collection: name, name: '', lower: '', subject: state.memo.of(read(state)) }],
    },
  ]
}

function collection(
  name: string,
  read: (state: RequestState) => readonly Entry[],
  volatile = false,
): readonly [string, Variable] {
  return [name, { collection: true, volatile, read }]
}

function named(label: string, read: (state: RequestState) => readonly Entry[]): readonly [string, Variable] {
  const names = (state: RequestState): Entry[] =>
    read(state).map(({ name, lower }) => ({ collection: label, name, lower, subject: state.memo.of(name) }))
  return collection(label, names)
}

const args = (state: RequestState): readonly Entry[] => {
  if (state.argsPost.length === 0) return state.argsGet
  return state.argsGet.length === 0 ? state.argsPost : [...state.argsGet, ...state.argsPost]
}

/** By name in upper case. */
export const VARIABLES: ReadonlyMap<string, Variable> = new Map([
  collection('ARGS', args),
  collection('ARGS_GET', (state) => state.argsGet),
  collection('ARGS_POST', (state) => state.argsPost),
  named('ARGS_NAMES', args),
  named('ARGS_GET_NAMES', (state) => state.argsGet),
  named('ARGS_POST_NAMES', (state) => state.argsPost),
  scalar('ARGS_COMBINED_SIZE', (state) =>
    String(args(state).reduce((sum, { name, subject }) => sum + name.length + subject.text.length, 0)),
  ),
  collection('FILES', (state) => state.files),
  named('FILES_NAMES', (state) => state.files),
  scalar('INBOUND_DATA_ERROR', (state) => (state.bodyTruncated ? '1' : '0')),
  scalar('MATCHED_VAR', (state) => state.matched?.subject.text ?? '', true),
  scalar('MATCHED_VAR_NAME', (state) => (state.matched === undefined ? '' : entryLabel(state.matched)), true),
  scalar('MULTIPART_STRICT_ERROR', (state) => (state.bodyStrictError === '' ? '0' : '1')),
  scalar('QUERY_STRING', (state) => state.query),
  scalar('REMOTE_ADDR', (state) => state.remoteAddress),
  scalar('REQBODY_ERROR', (state) => (state.bodyError === '' ? '0' : '1')),
  scalar('REQBODY_ERROR_MSG', (state) => state.bodyError),
  scalar('REQBODY_PROCESSOR', (state) => state.bodyProcessor),
  scalar('REQUEST_BASENAME', (state) => state.path.slice(state.path.lastIndexOf('/') + 1)),
  scalar('REQUEST_BODY', (state) => (state.bodyProcessor === 'MULTIPART' ? '' : state.bodyText)),
  scalar('REQUEST_BODY_LENGTH', (state) => String(state.bodyBytes)),
  collection('REQUEST_COOKIES', (state) => state.cookies),
  named('REQUEST_COOKIES_NAMES', (state) => state.cookies),
  scalar('REQUEST_FILENAME', (state) => state.path),
  collection('REQUEST_HEADERS', (state) => state.headers),
  named('REQUEST_HEADERS_NAMES', (state) => state.headers),
  scalar('REQUEST_LINE', (state) => `${state.method} ${state.target} ${state.protocol}`),
  scalar('REQUEST_METHOD', (state) => state.method),
  scalar('REQUEST_PROTOCOL', (state) => state.protocol),
  scalar('REQUEST_URI', (state) => (state.query === '' ? state.path : `${state.path}?${state.query}`)),
  scalar('REQUEST_URI_RAW', (state) => state.target),
  collection(
    'TX',
    (state) => Array.from(state.tx, ([name, value]) => ({ collection: 'TX', name, lower: name, subject: new Subject(value) })),
    true,
  ),
  // Ours: text of a body that no parser took apart. ModSecurity has only REQUEST_BODY, which repeats what ARGS holds.
  collection('UNPARSED_BODY', (state) => state.unparsed),
  scalar('URLENCODED_ERROR', (state) => (state.malformedEscapes ? '1' : '0')),
  // Texts and attribute values of an XML body; XPath selectors are not understood.
  collection('XML', (state) => state.xml),
])

/** Names that only macros know. */
const MACRO_ONLY = new Set(['RULE'])

export function isMacroCollection(name: string): boolean {
  return VARIABLES.has(name) || MACRO_ONLY.has(name)
}

/** `ARGS:q`, or the bare name for what is not a member of a collection. */
export function entryLabel({ collection: name, name: member }: Entry): string {
  return member === '' ? name : `${name}:${member}`
}

/** The first value of a variable, for macros. */
export function scalarText(state: RequestState, name: string, key: string | undefined): string | undefined {
  if (name === 'TX') return state.tx.get(key ?? '')
  if (name === 'RULE') return key === 'id' ? String(state.ruleId) : undefined
  const entries = VARIABLES.get(name)?.read(state) ?? []
  return (key === undefined ? entries[0] : entries.find(({ lower }) => lower === key))?.subject.text
}

/** Variables as one rule names them. */
export interface TargetList {
  readonly index: number
  readonly volatile: boolean
  gather(state: RequestState): readonly Entry[]
}

/** One variable of a list. Selectors are compared in lower case. */
export interface Target {
  readonly collection: string
  readonly count: boolean
  readonly exclude: boolean
  readonly selects: ((lower: string) => boolean) | undefined
}

export function targetList(index: number, targets: readonly Target[]): TargetList {
  const included = targets
    .filter(({ exclude }) => !exclude)
    .map((target) => ({ ...target, variable: VARIABLES.get(target.collection)! }))
  const excluded = targets.filter(({ exclude }) => exclude)
  const only = included[0]!
  const plain = included.length === 1 && excluded.length === 0 && !only.count && only.selects === undefined
  return {
    index,
    volatile: included.some(({ variable }) => variable.volatile),
    gather(state) {
      if (plain) return only.variable.read(state)
      const out: Entry[] = []
      for (const { collection: name, variable, count, selects } of included) {
        const removed = excluded.filter((target) => target.collection === name)
        let members = 0
        for (const entry of variable.read(state)) {
          if (selects !== undefined && !selects(entry.lower)) continue
          if (removed.length > 0 && removed.some((target) => target.selects === undefined || target.selects(entry.lower)))
            continue
          if (count) members += 1
          else out.push(entry)
        }
        if (count) out.push({ collection: `&${name}`, name: '', lower: '', subject: state.memo.of(String(members)) })
      }
      return out
    },
  }
}
