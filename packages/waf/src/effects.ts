/** Actions that change what later rules see: `setvar`, `expirevar`, `initcol`, `ctl` and their like. */

import { toByteText } from './bytes.ts'
import { COLLECTION_KEY_CHARS_MAX, REMOVED_TARGETS_MAX } from './limits.ts'
import { type Expandable, parseMacro } from './macro.ts'
import { integer } from './operators/numbers.ts'
import { emitPattern } from './regex/emit.ts'
import { parsePattern } from './regex/syntax.ts'
import type { CompiledRule, Effect, EffectFacts, RuleRun } from './rule.ts'
import { parseTargets, type TargetNode } from './seclang/parse.ts'
import type { Span } from './seclang/source-text.ts'
import type { RequestState } from './state.ts'
import { isMacroCollection, type Target } from './variables.ts'

/** Parses macros and refuses what would always expand to nothing. */
export function checkedMacro(span: Span): Expandable {
  const macro = parseMacro(span.text)
  for (const part of macro.parts) {
    if (typeof part !== 'string' && !isMacroCollection(part.collection)) {
      span.fail(
        Math.max(0, span.text.indexOf('%{')),
        `the macro %{${part.collection}}`,
        'a variable that this engine fills',
        'See packages/waf/README.md.',
      )
    }
  }
  return macro
}

const PERSISTENT = 'IP|GLOBAL|RESOURCE|SESSION|USER'
const SETVAR = new RegExp(`^(!?)(TX|${PERSISTENT})[.:]([^=]+?)(?:=([+-]?)([\\s\\S]*))?$`, 'i')

/** A named value in a collection that rules may write to. */
interface Cell {
  get(state: RequestState): string | undefined
  set(state: RequestState, value: string): void
  delete(state: RequestState): void
}

function cell(collection: string, name: Expandable): Cell {
  const fixed = name.constant?.toLowerCase()
  const key = (state: RequestState): string => fixed ?? state.expand(name).toLowerCase()
  if (collection === 'TX') {
    return {
      get: (state) => state.tx.get(key(state)),
      set: (state, value) => state.setTx(key(state), value),
      delete: (state) => void state.tx.delete(key(state)),
    }
  }
  return {
    get: (state) => state.persistent.get(collection)?.get(key(state), state.now()),
    set: (state, value) => state.persistent.get(collection)?.set(key(state), value, state.now()),
    delete: (state) => state.persistent.get(collection)?.delete(key(state)),
  }
}

/** `tx.name=value`, `tx.name=+3`, `tx.name=-3`, `tx.name` (sets 1), `!tx.name` (removes); likewise the persistent collections. */
export function setvar(span: Span): Effect {
  const match = SETVAR.exec(span.text)
  if (match === null)
    return span.fail(
      0,
      `setvar:${span.text}`,
      'tx.name=value, tx.name=+n, tx.name=-n or !tx.name',
      'Only TX, IP, GLOBAL, RESOURCE, SESSION and USER can be set.',
    )
  const head = match[1]!.length + match[2]!.length + 1
  const name = checkedMacro(span.slice(head, head + match[3]!.length))
  const target = cell(match[2]!.toUpperCase(), name)
  const valueLength = match[5]?.length ?? 0
  const value = match[5] === undefined ? parseMacro('1') : checkedMacro(span.slice(span.text.length - valueLength))
  const sign = match[4] === '+' ? 1 : match[4] === '-' ? -1 : 0
  const amount = amountOf(value)
  const effect: Effect =
    match[1] === '!'
      ? ({ state }) => target.delete(state)
      : sign === 0
        ? ({ state }) => target.set(state, state.expand(value))
        : ({ state }) => target.set(state, String(integer(target.get(state) ?? '0') + sign * amount(state)))
  if (match[2]!.toUpperCase() !== 'TX') return effect
  const first = name.parts[0]
  const about: EffectFacts = {
    kind: 'tx',
    name: typeof first === 'string' ? first.toLowerCase() : '',
    whole: name.constant !== undefined,
    ofTx: [...name.parts, ...value.parts].every((part) => typeof part === 'string' || part.collection === 'TX'),
  }
  return Object.assign(effect, { about })
}

/** What is added to a score for each match: mostly one variable of TX, or a number as it is written. */
function amountOf(value: Expandable): (state: RequestState) => number {
  if (value.constant !== undefined) {
    const written = integer(value.constant)
    return () => written
  }
  const [only, ...others] = value.parts
  if (typeof only === 'object' && only.collection === 'TX' && only.key !== undefined && others.length === 0) {
    const { key } = only
    return ({ tx }) => integer(tx.get(key) ?? '')
  }
  return (state) => integer(state.expand(value))
}

/** `expirevar:ip.name=seconds`; TX lives no longer than a request anyway. */
export function expirevar(span: Span): Effect {
  const { collection, name, value } = persistentPart(span, 'expirevar:ip.name=seconds')
  return ({ state }) =>
    state.persistent.get(collection)?.expire(state.expand(name).toLowerCase(), integer(state.expand(value)), state.now())
}

/** `deprecatevar:ip.name=amount/seconds`. */
export function deprecatevar(span: Span): Effect {
  const { collection, name, value } = persistentPart(span, 'deprecatevar:ip.name=amount/seconds')
  const rate = /^(\d{1,9})\/([1-9]\d{0,8})$/.exec(value.constant ?? '')
  if (rate === null)
    return span.fail(0, `deprecatevar:${span.text}`, 'ip.name=amount/seconds', 'Write for example ip.score=1/60.')
  return ({ state }) =>
    state.persistent.get(collection)?.deprecate(state.expand(name).toLowerCase(), Number(rate[1]), Number(rate[2]), state.now())
}

function persistentPart(span: Span, form: string): { collection: string; name: Expandable; value: Expandable } {
  const match = new RegExp(`^(TX|${PERSISTENT})[.:]([^=]+)=(.+)$`, 'i').exec(span.text)
  if (match === null) return span.fail(0, span.text, form, 'Name a collection that initcol opens.')
  const from = match[1]!.length + 1
  return {
    collection: match[1]!.toUpperCase(),
    name: checkedMacro(span.slice(from, from + match[2]!.length)),
    value: checkedMacro(span.slice(from + match[2]!.length + 1)),
  }
}

/** `initcol:ip=%{REMOTE_ADDR}`. */
export function initcol(span: Span, timeoutSeconds: () => number): Effect {
  const match = new RegExp(`^(${PERSISTENT})=(.+)$`, 'i').exec(span.text)
  if (match === null)
    return span.fail(0, `initcol:${span.text}`, 'ip=KEY, global=KEY, resource=KEY, session=KEY or user=KEY', 'Correct it.')
  return opening(match[1]!.toUpperCase(), checkedMacro(span.slice(match[1]!.length + 1)), timeoutSeconds)
}

/** `setsid`, `setuid`, `setrsc`: open the collection of that session, user or resource. */
export function opening(collection: string, key: Expandable, timeoutSeconds: () => number): Effect {
  return ({ state }) => {
    if (state.persistent.has(collection)) return
    const text = state.expand(key).slice(0, COLLECTION_KEY_CHARS_MAX)
    if (collection === 'SESSION') state.sessionId = text
    if (collection === 'USER') state.userId = text
    const opened = state.environment?.collections?.open(collection, text, state.now())
    if (opened === undefined) return
    opened.timeout(timeoutSeconds())
    state.persistent.set(collection, opened)
  }
}

/** `setenv:name=value`; read back as `ENV:name`. */
export function setenv(span: Span): Effect {
  const equals = span.text.indexOf('=')
  if (equals <= 0) return span.fail(0, `setenv:${span.text}`, 'name=value', 'Correct it.')
  const name = checkedMacro(span.slice(0, equals))
  const value = checkedMacro(span.slice(equals + 1))
  return ({ state }) => {
    state.env ??= new Map()
    if (state.env.size < 100) state.env.set(state.expand(name).toLowerCase(), state.expand(value))
  }
}

const PROCESSORS = ['URLENCODED', 'MULTIPART', 'JSON', 'XML'] as const

/** `ctl:option=value`. What changes logs only is checked and has no effect. */
export function ctl(span: Span, compileTarget: (node: TargetNode) => Target): Effect {
  const equals = span.text.indexOf('=')
  const option = (equals < 0 ? span.text : span.text.slice(0, equals)).toLowerCase()
  const value = span.slice(equals < 0 ? span.text.length : equals + 1)
  const choose = <T extends string>(known: readonly T[]): T => {
    const found = known.find((word) => word.toLowerCase() === value.text.toLowerCase())
    return found ?? value.fail(0, `${option}=${value.text}`, known.join(' or '), 'Choose one of them.')
  }
  const number = (): number =>
    /^\d{1,12}$/.test(value.text) ? Number(value.text) : value.fail(0, `the number ${value.text}`, 'digits', 'Correct it.')
  switch (option) {
    case 'ruleremovebyid': {
      const range = idRange(value)
      return removing(
        (run) => void run.removed.push(range),
        ({ id }) => id >= range[0] && id <= range[1],
      )
    }
    case 'ruleremovebytag':
    case 'ruleremovebymsg': {
      const from = ruleTest(value, option === 'ruleremovebytag' ? 'tag' : 'msg')
      return removing((run) => void run.removedIf.push(from), from)
    }
    case 'ruleremovetargetbyid':
    case 'ruleremovetargetbytag':
    case 'ruleremovetargetbymsg':
      return removeTarget(value, option, compileTarget)
    case 'ruleengine': {
      const mode = choose(['On', 'Off', 'DetectionOnly'])
      return (run) => {
        run.engine = mode
      }
    }
    case 'requestbodyprocessor': {
      const processor = choose(PROCESSORS)
      return (run) => {
        run.requestBodyProcessor = processor
        run.state.bodyProcessor = processor
      }
    }
    case 'forcerequestbodyvariable': {
      const on = choose(['On', 'Off']) === 'On'
      return ({ state }) => {
        state.bodyForced = on
      }
    }
    case 'requestbodyaccess': {
      const on = choose(['On', 'Off']) === 'On'
      return (run) => {
        run.requestBodyAccess = on
      }
    }
    case 'requestbodylimit': {
      const limit = number()
      return (run) => {
        run.requestBodyLimit = limit
      }
    }
    case 'responsebodyaccess': {
      const on = choose(['On', 'Off']) === 'On'
      return (run) => {
        run.responseBodyAccess = on
      }
    }
    case 'responsebodylimit': {
      const limit = number()
      return (run) => {
        run.responseBodyLimit = limit
      }
    }
    case 'auditengine': {
      const mode = choose(['On', 'Off', 'RelevantOnly'])
      return (run) => {
        run.auditEngine = mode
      }
    }
    case 'auditlogparts': {
      const match = /^([+-]?)([A-KZ]+)$/.exec(value.text)
      if (match === null) return value.fail(0, `the parts ${value.text}`, 'letters from A to K, and Z', 'Correct it.')
      const letters = match[2]!
      const sign = match[1]!
      return (run) => {
        const kept = [...(run.auditParts ?? '')].filter((letter) => !letters.includes(letter)).join('')
        run.auditParts = sign === '+' ? kept + letters : sign === '-' ? kept : letters
      }
    }
    default:
      return span.fail(
        0,
        `ctl:${option}`,
        'an option that packages/waf/README.md lists',
        'Remove it: this engine does not do what it asks for.',
      )
  }
}

function removeTarget(value: Span, option: string, compileTarget: (node: TargetNode) => Target): Effect {
  const semicolon = value.text.indexOf(';')
  if (semicolon < 0) return value.fail(0, `${option}=${value.text}`, 'RULES;VARIABLE', 'Name the variable after a semicolon.')
  const which = value.slice(0, semicolon)
  const targets = parseTargets(value.slice(semicolon + 1)).map(compileTarget)
  const by = option.slice('ruleremovetargetby'.length)
  const range = by === 'id' ? idRange(which) : undefined
  const from =
    range === undefined ? ruleTest(which, by as 'tag' | 'msg') : ({ id }: { id: number }) => id >= range[0] && id <= range[1]
  const removals = targets.map((target) => ({ target, from }))
  const effect: Effect = ({ removedTargets }) => {
    if (removedTargets.length < REMOVED_TARGETS_MAX) removedTargets.push(...removals)
  }
  return targets.some(({ collection }) => collection === 'TX') ? removing(effect, from) : effect
}

function removing(effect: Effect, removes: (rule: CompiledRule) => boolean): Effect {
  const about: EffectFacts = { kind: 'removal', removes }
  return Object.assign(effect, { about })
}

export function idRange(value: Span): readonly [low: number, high: number] {
  const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(value.text)
  if (match === null) return value.fail(0, `the rule id ${value.text}`, 'a number or a range such as 100-199', 'Correct it.')
  return [Number(match[1]), Number(match[2] ?? match[1])]
}

/** Rules by tag or message: a pattern, as in ModSecurity 2. */
export function ruleTest(
  value: Span,
  by: 'tag' | 'msg',
): (rule: { readonly tags: readonly string[]; readonly message: Expandable }) => boolean {
  if (value.text === '') value.fail(0, 'an empty pattern', `a pattern for the ${by}`, 'Name which rules are meant.')
  const test = textTest(value)
  if (by === 'tag') return ({ tags }) => tags.some(test)
  return ({ message }) => test(message.constant ?? message.parts.filter((part) => typeof part === 'string').join(''))
}

function textTest(value: Span): (text: string) => boolean {
  // Few are ever asked: one that depends on the request is made when it is.
  let regex: RegExp | undefined
  return (text) => {
    regex ??= plainRegex(value.text)
    return text === value.text || regex.test(text)
  }
}

function plainRegex(pattern: string): RegExp {
  try {
    return new RegExp(emitPattern(parsePattern(toByteText(pattern))))
  } catch {
    // Not a pattern, such as a message with a bracket: then it is the text itself.
    return new RegExp(pattern.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'))
  }
}

export type { RuleRun }
