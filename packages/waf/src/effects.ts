/** `setvar` and `ctl`: actions that change what later rules see. */

import { type Expandable, parseMacro } from './macro.ts'
import { integer } from './operators/numbers.ts'
import type { RuleRun } from './rule.ts'
import type { Span } from './seclang/source-text.ts'
import { isMacroCollection } from './variables.ts'

type Effect = (run: RuleRun) => void

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

/** `tx.name=value`, `tx.name=+3`, `tx.name=-3`, `tx.name` (sets 1), `!tx.name` (removes). */
export function setvar(span: Span): Effect {
  const match = /^(!?)tx\.([^=]+?)(?:=([+-]?)([\s\S]*))?$/i.exec(span.text)
  if (match === null)
    return span.fail(
      0,
      `setvar:${span.text}`,
      'tx.name=value, tx.name=+n, tx.name=-n or !tx.name',
      'Only the TX collection can be set.',
    )
  const valueLength = match[4]?.length ?? 0
  const name = checkedMacro(span.slice(match[1]!.length + 3, match[1]!.length + 3 + match[2]!.length))
  const value = match[4] === undefined ? parseMacro('1') : checkedMacro(span.slice(span.text.length - valueLength))
  if (match[1] === '!') return ({ state }) => void state.tx.delete(state.expand(name).toLowerCase())
  const sign = match[3] === '+' ? 1 : match[3] === '-' ? -1 : 0
  if (sign === 0) return ({ state }) => state.setTx(state.expand(name).toLowerCase(), state.expand(value))
  return ({ state }) => {
    const key = state.expand(name).toLowerCase()
    state.setTx(key, String(integer(state.tx.get(key) ?? '0') + sign * integer(state.expand(value))))
  }
}

/** `ruleRemoveById=id` or `low-high`, `ruleRemoveByTag=tag`, `ruleEngine=On|Off|DetectionOnly`. */
export function ctl(span: Span): Effect {
  const equals = span.text.indexOf('=')
  const option = (equals < 0 ? span.text : span.text.slice(0, equals)).toLowerCase()
  const value = equals < 0 ? '' : span.text.slice(equals + 1)
  if (option === 'ruleremovebyid') {
    const match = /^(\d{1,9})(?:-(\d{1,9}))?$/.exec(value)
    if (match === null) return span.fail(equals + 1, `the rule id ${value}`, 'a number or a range such as 100-199', 'Correct it.')
    const range = [Number(match[1]), Number(match[2] ?? match[1])] as const
    return (run) => void run.removed.push(range)
  }
  if (option === 'ruleremovebytag' && value !== '') return (run) => void run.removedTags.push(value)
  if (option === 'ruleengine') {
    const mode = (['On', 'Off', 'DetectionOnly'] as const).find((known) => known.toLowerCase() === value.toLowerCase())
    if (mode === undefined) return span.fail(equals + 1, `the mode ${value}`, 'On, Off or DetectionOnly', 'Choose one of them.')
    return (run) => {
      run.engine = mode
    }
  }
  return span.fail(
    0,
    `ctl:${option}`,
    'ruleRemoveById, ruleRemoveByTag or ruleEngine',
    'Remove it: this engine does not do what it asks for.',
  )
}
