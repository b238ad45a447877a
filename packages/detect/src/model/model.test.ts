import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { aggregate } from './aggregation.ts'
import { FEATURES, featuresOf, type ModelRequest, namedFeaturesOf, TEXT_MAX } from './features.ts'
import { decodeWeights, encodeWeights, explainScore, noWeights, scoreRequest } from './linear-model.ts'
import {
  areaUnderCurve,
  CLIP,
  Descender,
  type Example,
  epsilonOf,
  gaussianFrom,
  privateStep,
  rhoOf,
  StepAverage,
} from './training.ts'

const get = (target: string, body = ''): ModelRequest => ({
  method: 'GET',
  target,
  headers: [['User-Agent', 'Mozilla/5.0']],
  body: new TextEncoder().encode(body),
})

const plain = ({ indices, values }: ReturnType<typeof featuresOf>): readonly (readonly [number, number])[] =>
  [...indices].map((index, at) => [index, values[at]!] as const)

test('features say nothing of the words and numbers of a person: other ones of like length are the same', () => {
  assert.deepEqual(
    plain(featuresOf(get('/search?q=Margarete+Schmidt&id=4711', 'card=4929123412341234'))),
    plain(featuresOf(get('/seirch?q=Hildegard+Krauser&id=9999', 'kard=1234567812345678'))),
  )
  assert.notDeepEqual(
    plain(featuresOf(get('/search?q=union'))),
    plain(featuresOf(get('/search?q=onion'))),
    'words of the list count',
  )
  const structure = (target: string): readonly number[] => [...featuresOf(get(target)).indices].filter((index) => index < 2_048)
  assert.deepEqual(structure('/x?q=%3cscript%3E'), structure('/x?q=<script>'), 'escaped or not')
})

test('fields that name somebody are passed over', () => {
  const with_ = (name: string, value: string): ModelRequest => ({ ...get('/'), headers: [[name, value]] })
  for (const name of ['Cookie', 'Authorization', 'X-Forwarded-For'])
    assert.deepEqual(plain(featuresOf(with_(name, "secret' OR 1=1"))), plain(featuresOf(with_(name, ''))), name)
})

test('any bytes are features, of length 1, and no more than the first bytes of each part are looked at', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: 'binary' }),
      fc.uint8Array({ maxLength: 300 }),
      (target, value, body) => {
        const { indices, values } = featuresOf({ method: 'POST', target, headers: [['Referer', value]], body })
        assert.ok(Math.abs(values.reduce((sum, one) => sum + one * one, 0) - 1) < 1e-4)
        assert.equal(new Set(indices).size, indices.length)
        assert.ok(indices.every((index) => index < FEATURES))
      },
    ),
  )
  const long = featuresOf(get(`/${'a-'.repeat(TEXT_MAX)}`))
  assert.deepEqual(plain(long).slice(0, 3), plain(featuresOf(get(`/${'a-'.repeat(TEXT_MAX)}`))).slice(0, 3))
  const structure = (target: string): readonly number[] => [...featuresOf(get(target)).indices].filter((index) => index < 2_048)
  assert.deepEqual(structure(`/${'a-'.repeat(TEXT_MAX)}`), structure(`/${'a-'.repeat(TEXT_MAX)}'"<>`))
})

test('weights are read back bit for bit; other bytes, another length and what is no number are refused', () => {
  fc.assert(
    fc.property(fc.array(fc.float({ min: -1_000, max: 1_000, noNaN: true }), { maxLength: 40 }), (given) => {
      const weights = noWeights()
      weights.set(given)
      assert.deepEqual(decodeWeights(encodeWeights(weights)), weights)
    }),
  )
  const bytes = encodeWeights(noWeights())
  assert.throws(() => decodeWeights(bytes.subarray(1)), { code: 'MODEL_MALFORMED' })
  assert.throws(() => decodeWeights(bytes.with(3, 9)), { code: 'MODEL_MALFORMED' })
  const wild = noWeights()
  for (const weight of [Number.NaN, Number.POSITIVE_INFINITY, 1_001]) {
    wild[7] = weight
    assert.throws(() => decodeWeights(encodeWeights(wild)), /weight 7/)
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (garbage) =>
      assert.throws(() => decodeWeights(garbage), { code: 'MODEL_MALFORMED' }),
    ),
  )
})

const ATTACKS = [
  "/a?q=1'+OR+1=1--",
  '/a?q=<script>alert(1)</script>',
  '/a?q=../../../etc/passwd',
  '/a?q=;cat+/etc/hosts',
  "/a?q=x'+UNION+SELECT+1,2--",
]
const HONEST = ['/a?q=red+shoes', '/a?page=2&size=40', '/products/4711', '/a?q=rock+and+roll', '/a?sort=price,asc&color=blue']
const EXAMPLES: readonly Example[] = [
  ...ATTACKS.map((target) => ({ features: featuresOf(get(target)), hostile: true })),
  ...HONEST.map((target) => ({ features: featuresOf(get(target)), hostile: false })),
]

test('what it learns, it knows; and its explanation is the score: all parts add up to it', () => {
  const descender = new Descender(noWeights(), { rate: 20, momentum: 0.9, lengthMax: 400 })
  for (let at = 0; at < 60; at += 1) descender.follow(privateStep(descender.weights, EXAMPLES, 0, () => 0))
  const { weights } = descender
  assert.equal(areaUnderCurve(weights, EXAMPLES), 1)
  assert.ok(scoreRequest(weights, get("/b?x=2'+OR+2=2--")) > 0.5)
  assert.ok(scoreRequest(weights, get('/b?x=blue+hats')) < 0.5)
  const attack = get("/b?x=2'+UNION+SELECT+2,3--")
  const { score, sum, top } = explainScore(weights, attack)
  assert.ok(Math.abs(score - 1 / (1 + Math.exp(-sum))) < 1e-6)
  assert.ok(top.some(({ feature, part }) => /the word (union|select)|the structure/.test(feature) && part > 0))
  const named = namedFeaturesOf(attack)
  const all = [...named.indices].reduce((total, index, at) => total + weights[index]! * named.values[at]!, 0)
  assert.ok(Math.abs(all - sum) < 1e-4)
})

test('one request moves a step by no more than the clip, however it was made', () => {
  fc.assert(
    fc.property(fc.webUrl(), fc.boolean(), fc.double({ min: 0.1, max: 50, noNaN: true }), (url, hostile, scale) => {
      const { indices, values } = featuresOf(get(url))
      const extra = { features: { indices, values: values.map((one) => one * scale) }, hostile }
      const without = privateStep(noWeights(), EXAMPLES, 0, () => 0).map((one) => one * EXAMPLES.length)
      const with_ = privateStep(noWeights(), [...EXAMPLES, extra], 0, () => 0).map((one) => one * (EXAMPLES.length + 1))
      const moved = Math.sqrt(with_.reduce((sum, one, at) => sum + (one - without[at]!) ** 2, 0))
      assert.ok(moved <= CLIP + 1e-3)
    }),
  )
})

test('noise is on every coordinate, as strong as it says', () => {
  let state = 1
  const uniform = (): number => ((state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) + 0.5) / 2 ** 32
  const step = privateStep(noWeights(), EXAMPLES, 10, gaussianFrom(uniform))
  const scaled = step.map((one) => one * EXAMPLES.length)
  const deviation = Math.sqrt(scaled.reduce((sum, one) => sum + one * one, 0) / scaled.length)
  assert.ok(deviation > 9 && deviation < 11, String(deviation))
  assert.ok(step.every((one) => one !== 0))
})

test('privacy adds up as published: 200 steps at sigma 10 are 1-zCDP, and epsilon 7.79 at 1e-5', () => {
  assert.equal(rhoOf(10, 200), 1)
  assert.ok(Math.abs(epsilonOf(1, 1e-5) - (1 + 2 * Math.sqrt(Math.log(1e5)))) < 1e-12)
})

const WAYS = ['trimmed-mean', 'median', 'multi-krum', 'agreeing'] as const
const OPTIONS = { f: 2, mixed: false, lengthMax: 10 }
const step = (...given: readonly number[]): Float32Array => Float32Array.from(given)

test('two of seven that say anything move no joined step far from what the others say', () => {
  const wild = fc.array(fc.oneof(fc.float(), fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -3e38)), {
    minLength: 3,
    maxLength: 3,
  })
  fc.assert(
    fc.property(wild, wild, fc.constantFrom(...WAYS), fc.boolean(), (first, second, how, mixed) => {
      const honest = [0, 1, 2, 3, 4].map((at) => step(1 + at / 100, 2, -1 - at / 100))
      const joined = aggregate([...honest, step(...first), step(...second)], { ...OPTIONS, how, mixed })
      assert.ok(joined.every(Number.isFinite))
      // A lie that is as long as honest steps and agrees with them may count as one of five.
      const away = Math.sqrt(joined.reduce((sum, one, at) => sum + (one - [1.02, 2, -1.02][at]!) ** 2, 0))
      assert.ok(away < 2.5, `${how}: ${[...joined].join(', ')}`)
    }),
  )
})

test('a mean follows one liar: the test above can fail', () => {
  const joined = aggregate([step(1), step(1), step(1), step(1), step(-100)], { ...OPTIONS, lengthMax: 1_000, how: 'mean' })
  assert.ok(joined[0]! < -10)
})

test('honest steps that are alike are joined to the same, and too few are refused', () => {
  for (const how of WAYS)
    assert.deepEqual(
      [
        ...aggregate(
          Array.from({ length: 7 }, () => step(1, -2)),
          { ...OPTIONS, how },
        ),
      ],
      [1, -2],
    )
  assert.throws(() => aggregate([step(1), step(1)], { ...OPTIONS, how: 'median' }), /at least 5/)
})

test('the average of steps forgets', () => {
  const average = new StepAverage(0.5)
  average.add(step(4))
  average.add(step(0))
  assert.deepEqual([...average.add(step(0))], [1])
})

test('the area under the curve: ties are half', () => {
  const make = (index: number, hostile: boolean): Example => ({
    features: { indices: Uint16Array.of(index), values: Float32Array.of(1) },
    hostile,
  })
  const weights = noWeights()
  weights[1] = 1
  assert.equal(areaUnderCurve(weights, [make(1, true), make(0, false)]), 1)
  assert.equal(areaUnderCurve(weights, [make(0, true), make(0, false)]), 0.5)
  assert.equal(areaUnderCurve(weights, [make(0, true)]), undefined)
})
