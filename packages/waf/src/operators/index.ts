/**
 * Operators: a name and an argument make a test of a value. A test answers what it matched (for `capture` and the
 * excerpt), or undefined.
 */
import { detectSqli } from '../detect/sqli.ts'
import { detectXss } from '../detect/xss.ts'
import { fail, type ParsedOperator } from '../parser.ts'
import { byteRange } from './byte-range.ts'
import { pm } from './pm.ts'
import { rx } from './rx.ts'

export type Matched = readonly string[]
export type Test = (value: string) => Matched | undefined

const matched = (value: string): Matched => [value]

/** Whether `test` holds, with the whole value as what matched. */
const whole =
  (test: (value: string) => boolean): Test =>
  (value) =>
    test(value) ? matched(value) : undefined

function number(operator: ParsedOperator): number {
  if (!/^-?[0-9]{1,15}$/.test(operator.argument.trim()))
    fail(operator, `@${operator.name} ${JSON.stringify(operator.argument)}: expected a whole number`)
  return Number(operator.argument)
}

/** Text that is no number counts as 0, as in ModSecurity. */
const toNumber = (value: string): number => Number.parseInt(value, 10) || 0

const words = (text: string): readonly string[] => text.split(/\s+/).filter((word) => word !== '')

const FACTORIES: ReadonlyMap<string, (operator: ParsedOperator) => Test> = new Map<string, (operator: ParsedOperator) => Test>([
  ['rx', rx],
  ['pm', (operator) => pm(words(operator.argument))],
  ['contains', ({ argument }) => whole((value) => value.includes(argument))],
  ['streq', ({ argument }) => whole((value) => value === argument)],
  ['beginsWith', ({ argument }) => whole((value) => value.startsWith(argument))],
  ['endsWith', ({ argument }) => whole((value) => value.endsWith(argument))],
  ['within', ({ argument }) => whole((value) => value !== '' && argument.includes(value))],
  ['eq', (operator) => compare(operator, (a, b) => a === b)],
  ['ge', (operator) => compare(operator, (a, b) => a >= b)],
  ['gt', (operator) => compare(operator, (a, b) => a > b)],
  ['le', (operator) => compare(operator, (a, b) => a <= b)],
  ['lt', (operator) => compare(operator, (a, b) => a < b)],
  ['validateByteRange', byteRange],
  ['unconditionalMatch', () => matched],
  ['noMatch', () => () => undefined],
  ['detectSQLi', () => detector(detectSqli)],
  ['detectXSS', () => detector(detectXss)],
])

function compare(operator: ParsedOperator, holds: (a: number, b: number) => boolean): Test {
  const bound = number(operator)
  return whole((value) => holds(toNumber(value), bound))
}

function detector(detect: (value: string) => string | undefined): Test {
  return (value) => {
    const found = detect(value)
    return found === undefined ? undefined : [value, found]
  }
}

/** @throws {RuleSyntaxError} For an operator or argument that is not supported. */
export function compileOperator(operator: ParsedOperator): Test {
  const make = FACTORIES.get(operator.name)
  if (make === undefined)
    fail(
      operator,
      `the operator @${operator.name} is not supported; supported are ${[...FACTORIES.keys()].map((name) => `@${name}`).join(', ')}`,
    )
  const test = make(operator)
  return operator.negated ? (value) => (test(value) === undefined ? matched(value) : undefined) : test
}
