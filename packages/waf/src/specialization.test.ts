import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compile } from './test-requests.ts'

const HEAD = { method: 'GET', httpVersion: '1.1', headers: [], remoteAddress: '192.0.2.1' } as const

const variable = fc.constantFrom('a', 'b', 'c', 'level', '1')
const number = fc.integer({ min: 0, max: 3 })
const phase = fc.constantFrom(1, 1, 1, 2, 5)
const relation = fc.constantFrom('eq', 'lt', 'ge')
const set = fc.oneof(
  fc.tuple(variable, number).map(([name, value]) => `setvar:tx.${name}=${value}`),
  fc.tuple(variable, number).map(([name, value]) => `setvar:tx.${name}=+${value}`),
  variable.map((name) => `setvar:!tx.${name}`),
  fc.tuple(variable, variable).map(([name, other]) => `setvar:'tx.${name}=%{tx.${other}}'`),
  fc.tuple(variable, number).map(([name, value]) => `setvar:'tx.%{tx.${name}}=${value}'`),
  fc.constantFrom("setvar:'tx.a=%{ARGS.q}'", "setvar:'tx.%{ARGS.q}=2'", "setvar:'tx.le%{ARGS.q}=2'"),
  fc.integer({ min: 1, max: 12 }).map((id) => `ctl:ruleRemoveById=${id}-${id + 1}`),
  fc.integer({ min: 1, max: 12 }).map((id) => `ctl:ruleRemoveTargetById=${id};TX:a`),
)
const condition = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(variable, relation, number).map(([name, by, to]) => `TX:${name} "@${by} ${to}"`) },
  { weight: 2, arbitrary: fc.tuple(variable, number).map(([name, to]) => `&TX:${name} "@eq ${to % 2}"`) },
  { weight: 2, arbitrary: fc.tuple(variable, variable, number).map(([a, b, to]) => `&TX:${a}|TX:${b} "@eq ${to}"`) },
  { weight: 1, arbitrary: fc.tuple(variable, number).map(([name, to]) => `TX:${name} "!@rx ^${to}"`) },
  { weight: 1, arbitrary: fc.tuple(variable, variable).map(([a, b]) => `TX:${a} "@eq %{tx.${b}}"`) },
  { weight: 2, arbitrary: fc.constantFrom('ARGS:q "@streq x"', 'ARGS:q "@rx ^(a|b)"', 'REQUEST_METHOD "@streq GET"') },
)
const rule = fc.record({
  condition: fc.option(condition),
  chained: fc.option(condition, { freq: 5 }),
  phase,
  effects: fc.array(set, { maxLength: 2 }),
  skips: fc.option(fc.constantFrom('skip:1', 'skip:2', 'skipAfter:END'), { freq: 2 }),
  logs: fc.boolean(),
  denies: fc.option(fc.constant(true), { freq: 9 }),
  captures: fc.option(fc.constant(true), { freq: 9 }),
  /** What its match was is said by the next SecAction. */
  tells: fc.option(fc.constant(true), { freq: 9 }),
})

function write(rules: readonly (typeof rule extends fc.Arbitrary<infer T> ? T : never)[]): string {
  const lines = rules.map(({ condition: asked, chained, phase: at, effects, skips, logs, denies, captures, tells }, i) => {
    const actions = [
      `id:${i + 1}`,
      `phase:${at}`,
      'severity:NOTICE',
      denies === null ? 'pass' : 'deny',
      logs ? 'log' : 'nolog',
      `logdata:'%{tx.a}|%{tx.b}|%{tx.c}|%{tx.level}|%{tx.1}${tells === null ? '' : '|%{MATCHED_VAR}'}'`,
      ...(skips === null ? [] : [skips]),
      ...(captures === null ? [] : ['capture']),
    ]
    if (asked === null) return `SecAction "${[...actions, ...effects].join()}"`
    const own = i % 2 === 0 ? actions.filter((action) => !action.startsWith('severity')) : actions
    if (chained === null) return `SecRule ${asked} "${[...own, ...effects].join()}"`
    return `SecRule ${asked} "${[...own, 'chain'].join()}"\n  SecRule ${chained} "${effects.join() || 't:none'}"`
  })
  return [...lines, 'SecMarker END'].join('\n')
}

/** Rules after which nothing of TX is constant and nothing at the beginning is set up. Neither ever matches. */
const OPAQUE = [
  'SecRule REQUEST_METHOD "@streq NEVER" "id:900,phase:1,pass,nolog"',
  'SecRule ARGS:q "@streq never" "id:901,phase:5,pass,nolog,setvar:\'tx.%{ARGS.never}=1\'"',
] as const

test('property: what is done once for all requests changes no verdict', () => {
  fc.assert(
    fc.property(
      fc.array(rule, { minLength: 1, maxLength: 12 }),
      fc.subarray([1, 2, 3, 4], { maxLength: 2 }),
      fc.constantFrom('/', '/?q=x', '/?q=a', '/?q=level&q=vel'),
      (rules, excluded, target) => {
        const text = write(rules)
        const judge = (source: string) => {
          const transaction = compile(source).excluding(excluded).begin()
          const head = transaction.requestHead({ ...HEAD, target })
          return [head, transaction.requestBody(new Uint8Array(), false), transaction.log()]
        }
        assert.deepEqual(judge(text), judge(`${OPAQUE[0]}\n${text}\n${OPAQUE[1]}`))
      },
    ),
    { numRuns: 600 },
  )
})
