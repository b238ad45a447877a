import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compileRules } from '../compile.ts'
import { LongText } from '../long-text.ts'
import { type LinearMatcher, linearMatcher } from './dfa.ts'
import { emitPattern } from './emit.ts'
import { parsePattern } from './syntax.ts'

const hex = (code: number): string => code.toString(16).padStart(2, '0')
const unlimited = { work: 0, building: 0 }

const atom = fc.constantFrom('a', 'b', '[ab]', '[^a]', '.', '\\w', '\\s', '\\b', '\\B', '^', '$', 'é', '\\x00')
const pattern = fc.letrec<{ node: string }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 4 },
    atom,
    fc.tuple(tie('node'), tie('node')).map(([a, b]) => a + b),
    fc.tuple(tie('node'), tie('node')).map(([a, b]) => `(?:${a}|${b})`),
    fc.tuple(tie('node'), fc.constantFrom('*', '+', '?', '{2}', '{1,3}', '*?')).map(([a, times]) => `(?:${a})${times}`),
  ),
})).node
const subject = fc.string({ unit: fc.constantFrom('a', 'b', ' ', '_', '\x00', '\xe9'), maxLength: 14 })

test('property: the linear matcher finds a match exactly when V8 does', () => {
  fc.assert(
    fc.property(pattern, subject, (source, text) => {
      const tree = parsePattern(source)
      const matcher = linearMatcher(tree)
      assert.ok(matcher?.exact)
      const regex = new RegExp(emitPattern(tree))
      for (let run = 0; run < 2; run += 1) {
        assert.equal(
          matcher.search(text, unlimited, Number.POSITIVE_INFINITY) >= 0,
          regex.test(text),
          `${source} on ${JSON.stringify(text)}`,
        )
      }
    }),
    { numRuns: 20_000 },
  )
})

test('property: a match begins where V8 has it begin', () => {
  fc.assert(
    fc.property(pattern, subject, (source, text) => {
      const tree = parsePattern(source)
      const matcher = linearMatcher(tree)
      const begins = new RegExp(emitPattern(tree)).exec(text)?.index
      for (let run = 0; run < 2; run += 1) {
        const end = matcher!.search(text, unlimited, Number.POSITIVE_INFINITY)
        if (begins === undefined) assert.equal(end, -1)
        else
          assert.equal(
            matcher!.startOf(text, end, unlimited, Number.POSITIVE_INFINITY),
            begins,
            `${source} on ${JSON.stringify(text)}`,
          )
      }
    }),
    { numRuns: 20_000 },
  )
})

test('property: a text that is read as a long one has its match where it has it otherwise', () => {
  const piece = fc
    .tuple(fc.constantFrom('a', 'b', ' ', '_', 'or', "'", '\x00', '\xe9'), fc.nat(20))
    .map(([c, times]) => c.repeat(times))
  const texts = fc.array(
    fc.oneof(
      subject,
      fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join('')),
    ),
    { maxLength: 6 },
  )
  const sources = fc.oneof(pattern, fc.constantFrom('a+b', '\\bor\\b', "'[^']*or", 'a.{0,3}b|_$', '(?:^a|[ab]{2})_', '(?:ab)*_'))
  let found = 0
  fc.assert(
    fc.property(sources, texts, (source, subjects) => {
      const short = linearMatcher(parsePattern(source))
      const long = linearMatcher(parsePattern(source))
      for (const text of [...subjects, ...subjects]) {
        const end = short!.search(text, unlimited, Number.POSITIVE_INFINITY)
        if (end > 3) found += 1
        assert.equal(
          long!.search(text, unlimited, Number.POSITIVE_INFINITY, new LongText(text)),
          end,
          `${source} on ${JSON.stringify(text)}`,
        )
      }
    }),
    { numRuns: 10_000 },
  )
  assert.ok(found > 3_000, `${found} matches behind the beginning`)
})

test('a long text is read from one place where a match may begin to the next, and all else costs no state', () => {
  const { search } = linearMatcher(parsePattern('(?i)\\bselect\\b[^;]{0,20}from'))!
  const text = `${'It is how they slept, and sold; '.repeat(4_000)}SELECT a FROM b`
  const meter = { work: 0, building: 0 }
  assert.equal(search(text, meter, Number.POSITIVE_INFINITY), text.length - 2)
  const first = meter.work
  assert.equal(search(`${text.slice(0, -15)} nothing`, meter, Number.POSITIVE_INFINITY), -1)
  assert.ok(first > 0 && meter.work - first < first / 4, 'what was built is not built again')
})

test('a pattern whose beginning alone outgrows the table is read without leaps', () => {
  const words = Array.from({ length: 16_500 }, (_, i) => `\\x${hex(128 + (i & 127))}\\x${hex(i >>> 7)}`)
  const { search } = linearMatcher(parsePattern(`\\b(?:${words.join('|')})`))!
  const text = `${' a'.repeat(1_000)}\x80\x00`
  for (let run = 0; run < 2; run += 1) assert.equal(search(text, unlimited, Number.POSITIVE_INFINITY), text.length)
  assert.equal(search(text.slice(0, -1), unlimited, Number.POSITIVE_INFINITY), -1)
})

test('a pattern of many words says by what they begin within bounded work, or not at all', () => {
  const words = Array.from({ length: 4_000 }, (_, i) => `${String.fromCharCode(97 + (i % 26))}${i.toString(36)}x`)
  const { search } = linearMatcher(parsePattern(`(?:${words.join('|')})+z`))!
  const meter = { work: 0, building: 0 }
  const text = `${'- '.repeat(1_000)}${words[77]}z`
  assert.equal(search(text, meter, Number.POSITIVE_INFINITY), text.length)
  assert.ok(meter.building <= 4_000_000, `${meter.building}`)
})

test('property: with look-around and back-references, no means no', () => {
  const parts = fc.array(fc.oneof(atom, fc.constantFrom('(?=a)', '(?!b)', '(?<=a)', '(?<!a)', '(a|b)\\1')), { maxLength: 5 })
  fc.assert(
    fc.property(parts, subject, (pieces, text) => {
      let source = pieces.join('')
      let groups = 0
      source = source.replace(/\(a\|b\)\\1/g, () => `(a|b)\\${++groups}`)
      const tree = parsePattern(source)
      const found = linearMatcher(tree)?.search(text, unlimited, Number.POSITIVE_INFINITY) ?? 0
      if (new RegExp(emitPattern(tree)).test(text)) assert.ok(found >= 0, `${source} on ${JSON.stringify(text)}`)
    }),
    { numRuns: 5_000 },
  )
})

/** The same letters at every run, without a period. */
function noise(length: number): string {
  let text = ''
  for (let i = 0, x = 1; i < length; i += 1) {
    x = (Math.imul(x, 1_103_515_245) + 12_345) & 0x7fffffff
    text += (x >> 16) & 1 ? 'a' : 'b'
  }
  return text
}

test('a pattern whose states outgrow the table starts anew and goes on', () => {
  const matcher = linearMatcher(parsePattern('[ab]*a[ab]{14}c'), 32_768)
  assert.ok(matcher)
  const text = noise(40_000)
  assert.equal(matcher.search(text, unlimited, Number.POSITIVE_INFINITY), -1)
  assert.ok(matcher.renewals > 0)
  assert.equal(matcher.search(`${text}a${'b'.repeat(14)}c`, unlimited, Number.POSITIVE_INFINITY), text.length + 16)
})

test('a table grows, and what came before makes no state any more; all that grew together have their bound', () => {
  const text = noise(40_000)
  const again = (matcher: LinearMatcher): number => {
    const meter = { work: 0, building: 0 }
    assert.equal(matcher.search(text, unlimited, Number.POSITIVE_INFINITY), -1)
    assert.equal(matcher.search(text, meter, Number.POSITIVE_INFINITY), -1)
    return meter.building
  }
  const tree = parsePattern('[ab]*a[ab]{12}c')
  assert.ok(again(linearMatcher(tree, 32_768)!) > 0)
  const grown = linearMatcher(tree)!
  assert.equal(again(grown), 0)
  assert.equal(grown.renewals, 0)
  const many = Array.from({ length: 40 }, () => linearMatcher(tree)!)
  const built = many.map(again)
  assert.ok(built.some((work) => work > 0))
  assert.ok(built.filter((work) => work === 0).length <= 32)
})

test('what nobody built before is spared while there is an allowance, and counts beyond it', () => {
  const text = 'ab'.repeat(50)
  const cost = (spared: number): readonly number[] => {
    const meter = { work: 0, building: 0, spared }
    const matcher = linearMatcher(parsePattern('a[ab]{3}b|b{2,5}a'))!
    matcher.search(text, meter, Number.POSITIVE_INFINITY)
    return [meter.work, meter.building, spared - meter.spared]
  }
  const [all = 0] = cost(0)
  assert.ok(all > 0)
  assert.deepEqual(cost(0), [all, all, 0])
  assert.deepEqual(cost(1_000_000), [0, 0, all])
  const [work = 0, , used = 0] = cost(Math.floor(all / 2))
  assert.ok(work > 0 && used > 0 && work + used === all)
})

test('building states counts as work, and the search ends when there has been too much', () => {
  const matcher = linearMatcher(parsePattern('[ab]*a[ab]{14}c'))
  const meter = { work: 0, building: 0 }
  assert.equal(matcher?.search(noise(8_000), meter, 20_000), -1)
  assert.ok(meter.work > 20_000 && meter.work < 40_000, String(meter.work))
})

test('counts that multiply give no matcher instead of a large one', () => {
  assert.equal(linearMatcher(parsePattern('(?:(?:a{100}){100}){100}')), undefined)
})

test('a rehearsal’s work does not depend on what was judged before', () => {
  const text = 'SecRule ARGS "@rx (?:a|b)*c[def]+g" "id:1,phase:2,deny"\nSecRule ARGS "@rx [xyz]{2,9}w" "id:2,phase:2,deny"'
  const rules = compileRules([{ file: 'a.conf', text }], { paranoia: 1 })
  const request = {
    method: 'GET',
    target: '/?q=abababxyzyxabcdefabcdz',
    httpVersion: '1.1',
    headers: [],
    remoteAddress: '192.0.2.1',
  }
  const work = () => {
    const run = rules.rehearse()
    run.requestHead(request)
    run.requestBody(new Uint8Array(0), false)
    return run.work
  }
  const first = work()
  assert.ok(first > 0)
  assert.equal(work(), first)
})
