import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { linearMatcher } from './regex/dfa.ts'
import { emitPattern } from './regex/emit.ts'
import { parsePattern } from './regex/syntax.ts'
import { Subject } from './subject.ts'
import { compile, send } from './test-requests.ts'
import { Company, noteAsked, type Sharing, Unions } from './unions.ts'

const meter = { work: 0, building: 0 }

function asked(company: Company, sources: readonly string[]) {
  return sources.map((source) => {
    const tree = parsePattern(source)
    const sharing: Sharing = { source, parsed: () => tree, company, union: undefined, asks: 0, matches: 0, alone: false }
    const matcher = linearMatcher(tree)!
    const matches = (subject: Subject): boolean => {
      meter.work = 0
      if (sharing.union?.rulesOut(subject, meter) === true) return false
      const isMatch = matcher.search(subject.text, meter, Number.POSITIVE_INFINITY) >= 0
      noteAsked(sharing, isMatch)
      return isMatch
    }
    return { sharing, matches, regex: new RegExp(emitPattern(tree)) }
  })
}

const atom = fc.constantFrom('a', 'b', 'c', '[ab]', '[^a]', '.', '\\b', '^', '$', 'ab*c', '(?:b|c){2}', 'a.{0,3}b', 'c[^b]*a')
const pattern = fc.array(atom, { minLength: 1, maxLength: 5 }).map((atoms) => atoms.join(''))
const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', ' '), maxLength: 16 })

test('property: patterns that are asked together say what each says alone, however few states they may have', () => {
  let made = 0
  fc.assert(
    fc.property(
      fc.array(pattern, { minLength: 2, maxLength: 14 }),
      fc.array(text, { minLength: 10, maxLength: 60 }),
      fc.constantFrom(60, 400, 100_000),
      (sources, texts, threadsMax) => {
        const unions = new Unions({ asksMin: 3, threadsMax })
        const patterns = asked(new Company(unions), sources)
        const subjects = texts.map((each) => new Subject(each))
        for (let round = 0; round < 2; round += 1) {
          for (const subject of subjects) {
            for (const { matches, regex, sharing } of patterns)
              assert.equal(matches(subject), regex.test(subject.text), `${sharing.source} on ${JSON.stringify(subject.text)}`)
          }
        }
        made += unions.made
      },
    ),
    { numRuns: 2_000 },
  )
  assert.ok(made > 1_000, `${made} unions`)
})

test('eight that hardly ever match are asked at once; one that matches often is asked by itself', () => {
  const unions = new Unions({ asksMin: 10 })
  const rare = Array.from({ length: 8 }, (_, at) => `x[${at}-9]*y${at}`)
  const patterns = asked(new Company(unions), [...rare, '[a-z]'])
  for (let at = 0; at < 40; at += 1) for (const { matches } of patterns) matches(new Subject(`text ${at}`))
  assert.equal(unions.made, 1)
  assert.deepEqual(
    patterns.map(({ sharing }) => sharing.union !== undefined),
    [...rare.map(() => true), false],
  )
  const asks = patterns[0]!.sharing.asks
  const subject = new Subject('nothing of it')
  for (const { matches } of patterns) matches(subject)
  assert.equal(patterns[0]!.sharing.asks, asks, 'it was not asked itself')
  assert.equal(patterns[0]!.matches(new Subject('xy0')), true)
})

test('few that wait long enough are asked together as well; those that then match often are not any more', () => {
  const unions = new Unions({ asksMin: 10 })
  const patterns = asked(new Company(unions), ['xa', 'xb', 'xc'])
  for (let at = 0; at < 41; at += 1) for (const { matches } of patterns) matches(new Subject(`text ${at}`))
  assert.equal(unions.made, 1)
  for (let at = 0; at < 100; at += 1) for (const { matches } of patterns) matches(new Subject(`xa ${at}`))
  assert.ok(patterns.every(({ sharing }) => sharing.union === undefined && sharing.alone))
})

test('a union with too many states becomes two, however many values it is asked about meanwhile', () => {
  const unions = new Unions({ asksMin: 10, threadsMax: 60 })
  const patterns = asked(
    new Company(unions),
    Array.from({ length: 8 }, (_, at) => `x[^y]{0,9}${at}z`),
  )
  for (let at = 0; unions.made === 0; at += 1) for (const { matches } of patterns) matches(new Subject(`text ${at}`))
  const union = patterns[0]!.sharing.union!
  for (let at = 0; at < 40; at += 1) assert.equal(union.rulesOut(new Subject(`${'x1x2'.repeat(at)}x${at % 8}z`), meter), false)
  assert.equal(unions.made, 3)
  assert.ok(patterns.every(({ sharing }) => sharing.union !== undefined && sharing.union !== union))
})

test('one that matches what the others see costs them half of their company, not all', () => {
  const unions = new Unions({ asksMin: 10 })
  const patterns = asked(new Company(unions), ['xa', 'xb', 'xc', 'xd', 'xe', 'xf', 'xg', 'xh'])
  for (let at = 0; unions.made === 0; at += 1) for (const { matches } of patterns) matches(new Subject(`text ${at}`))
  for (let at = 0; at < 200; at += 1) for (const { matches } of patterns) matches(new Subject(`xa ${at}`))
  assert.deepEqual(
    patterns.map(({ sharing }) => sharing.alone),
    [true, true, false, false, false, false, false, false],
  )
})

test('a search that the work of its request cuts short rules nothing out', () => {
  const unions = new Unions({ asksMin: 1 })
  const patterns = asked(new Company(unions), ['xa', 'xb', 'xc', 'xd', 'xe', 'xf', 'xg', 'xh'])
  for (const { matches } of patterns) matches(new Subject('text'))
  const { union } = patterns[0]!.sharing
  const subject = new Subject('the xa of it')
  assert.equal(union!.rulesOut(subject, { work: Number.MAX_SAFE_INTEGER / 2, building: 0 }), false)
  assert.equal(union!.rulesOut(new Subject('nothing'), { work: 0, building: 0 }), true)
  assert.equal(union!.rulesOut(subject, { work: 0, building: 0 }), false)
})

test('a rule set says of the thousandth request what it says of the first', () => {
  const lines = Array.from(
    { length: 12 },
    (_, at) => `SecRule ARGS "@rx [${at % 10}a-f][^a-z]{${1 + (at % 3)}}[g-m]" "id:${at + 1},phase:2,pass,log,t:none"`,
  ).join('\n')
  const [old, fresh] = [compile(lines), compile(lines)]
  const body = (from: number): string =>
    Array.from({ length: 40 }, (_, at) => `a${at}=value+${from}+of+${at}${'-'.repeat(at % 7)}h`).join('&')
  const ids = (rules: ReturnType<typeof compile>, from: number): string =>
    send(rules, { headers: [['Content-Type', 'application/x-www-form-urlencoded']], body: body(from) })
      .matches.map(({ ruleId }) => ruleId)
      .join()
  for (let from = 0; from < 60; from += 1) ids(old, from)
  for (let from = 0; from < 20; from += 1) assert.equal(ids(old, from), ids(fresh, from))
  assert.notEqual(ids(old, 1), '')
})
