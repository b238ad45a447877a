import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compile } from './test-requests.ts'
import type { RuleSet, WafEnvironment, WafVerdict } from './types.ts'

/** Rule by rule, as it is done for requests that are timed. */
const TIMED: WafEnvironment = { clock: () => 0, uniqueId: '', stopwatch: () => 0 }
const WORDS = ['apple', 'pear', 'plum', 'quince', 'medlar']
const PLACES = [
  'ARGS',
  'ARGS_NAMES',
  'REQUEST_COOKIES',
  'REQUEST_HEADERS:Referer',
  'REQUEST_FILENAME',
  'ARGS|REQUEST_COOKIES',
  'ARGS|!ARGS:pear|REQUEST_COOKIES',
  'REQUEST_HEADERS|!REQUEST_HEADERS:Referer',
  'XML:/*',
]

const rule = fc.record({
  place: fc.constantFrom(...PLACES),
  // The last ones need no literal.
  word: fc.constantFrom(...WORDS, '[a-z]{5}', '%', '^.{0,4}$'),
  transformation: fc.constantFrom('t:none', 't:lowercase', 't:urlDecodeUni,t:lowercase', 't:urlDecodeUni'),
  negated: fc.oneof({ weight: 6, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
  skip: fc.oneof({ weight: 6, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 3 }) }),
  compares: fc.oneof({ weight: 6, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
})

function written(rules: readonly (typeof rule extends fc.Arbitrary<infer T> ? T : never)[]): string {
  const lines = rules.map(({ place, word, transformation, negated, skip, compares }, i) => {
    const actions = `"id:${i + 1},phase:2,pass,log,${transformation},setvar:tx.score=+2${skip > 0 ? `,skip:${skip}` : ''}"`
    return compares
      ? `SecRule TX:score "@ge %{tx.limit}" ${actions}`
      : `SecRule ${place} "${negated ? '!' : ''}@rx ${word}s?" ${actions}`
  })
  return ['SecAction "id:100,phase:1,pass,nolog,setvar:tx.limit=4,setvar:tx.score=0"', ...lines].join('\n')
}

/** Longer than what is remembered. */
const long = fc.constantFrom(...WORDS).map((word) => `${'-'.repeat(300)}${word}`)
const text = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(...WORDS, 'PEAR', '%70lum', '%2570lum', 'nothing') },
  { weight: 4, arbitrary: fc.string({ maxLength: 4 }).map(encodeURIComponent) },
  { weight: 1, arbitrary: long },
)
const request = fc.record({
  path: fc.constantFrom('/', '/shop/apple', '/pears'),
  args: fc.array(fc.tuple(text, text), { maxLength: 3 }),
  cookie: fc.option(text),
  referer: fc.option(text),
})

function judged(
  rules: RuleSet,
  { path, args, cookie, referer }: typeof request extends fc.Arbitrary<infer T> ? T : never,
  environment?: WafEnvironment,
): WafVerdict {
  const transaction = rules.begin(environment)
  transaction.requestHead({
    method: 'GET',
    target: `${path}?${args.map(([name, value]) => `${name}=${value}`).join('&')}`,
    httpVersion: '1.1',
    headers: [
      ['Host', 'shop.example'],
      ...(cookie === null ? [] : [['Cookie', `fruit=${cookie}`] as const]),
      ...(referer === null ? [] : [['Referer', referer] as const]),
    ],
    remoteAddress: '192.0.2.1',
  })
  return transaction.requestBody(new Uint8Array(), false)
}

test('property: stretches of rules passed over at once say what the rules say one by one', () => {
  let matches = 0
  fc.assert(
    fc.property(
      fc.array(rule, { minLength: 3, maxLength: 14 }),
      fc.array(request, { minLength: 1, maxLength: 4 }),
      (rules, sent) => {
        const set = compile(written(rules))
        for (const one of sent) {
          const verdict = judged(set, one)
          matches += verdict.matches.length
          assert.deepEqual(verdict, judged(set, one, TIMED))
          assert.deepEqual(verdict, judged(set, one), 'a second time, with what is remembered of the first')
          assert.deepEqual(verdict, judged(compile(written(rules)), one, TIMED), 'with nothing remembered')
        }
      },
    ),
    { numRuns: 300 },
  )
  assert.ok(matches > 100, `${matches} matches in all`)
})
