import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hashText } from '../signal.ts'
import { decodeInsiderSummary, encodeInsiderSummary, INSIDER_SORTS, type InsiderSort } from './insider-summary.ts'
import { type InsiderFinding, Insiders, type InsidersOptions } from './insiders.ts'
import {
  joinProfile,
  knownCount,
  newProfile,
  noteMost,
  noteUse,
  PROFILE_WORDS,
  type Profile,
  pastOf,
  usedWithinHour,
} from './profile.ts'

/** A Monday. */
const MONDAY = Date.UTC(2_026, 5, 1)
const [HOUR_MS, DAY_MS] = [3_600_000, 86_400_000]
const OPTIONS: InsidersOptions = {
  limits: {
    secrets: { first: 10, firstAtOddHour: 3, many: 20 },
    admin: { first: 6, firstAtOddHour: 1, many: 20 },
    account: { first: 12, firstAtOddHour: 4, many: 200 },
  },
  learnDays: 7,
  share: 0.25,
  times: 4,
}
const at = (day: number, hour: number, minute = 0): number => MONDAY + day * DAY_MS + hour * HOUR_MS + minute * 60_000
const isWeekday = (day: number): boolean => day % 7 < 5

/** Uses things one after the other, a second apart. */
function using(insiders: Insiders, sort: InsiderSort, subject: string) {
  return (atMs: number, ...names: readonly string[]): readonly InsiderFinding[] =>
    names.flatMap((name, index) => {
      const item = hashText(name)
      return insiders.observe({ atMs: atMs + index * 1_000, sort, subject, item, thing: item })
    })
}

const names = (count: number, prefix = 'secret'): readonly string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}-${index}`)

test('what comes late, after what was done today, is a past as well', () => {
  const insiders = new Insiders(OPTIONS)
  const ada = using(insiders, 'admin', 'operator:ada')
  ada(at(28, 9), 'policy.set')
  for (let day = 0; day < 28; day += 1) ada(at(day, 9), 'deny.add')
  assert.equal(ada(at(28, 9, 5), ...names(5, 'operation')).length, 1)
})

test('secrets by the dozen within an hour by one who opened two in a month: said in words, at the limit and at twice that, and of nobody else', () => {
  const insiders = new Insiders(OPTIONS)
  const ada = using(insiders, 'secrets', 'operator:ada')
  const bob = using(insiders, 'secrets', 'operator:bob')
  for (let day = 0; day < 30; day += 1)
    if (isWeekday(day))
      for (const hour of [9, 12, 16]) {
        assert.deepEqual(ada(at(day, hour), hour === 12 ? 'shop/db' : 'shop/mail'), [])
        assert.deepEqual(bob(at(day, hour), ...names(14, 'other')), [])
      }
  const found = ada(at(30, 10), 'shop/db', ...names(13))
  const kinds = ada(at(30, 10, 5), ...names(14, 'more')).map(({ what }) => what)
  assert.deepEqual(kinds.sort(), ['first', 'many'])
  assert.deepEqual(found, [
    {
      sort: 'secrets',
      subject: 'operator:ada',
      what: 'first',
      reason:
        'opened 11 secrets within an hour, 10 of them for the first time; in the last 30 days it opened 2, at most 1 an hour',
    },
  ])
  assert.deepEqual(bob(at(30, 10), ...names(14, 'other')), [])
})

test('what must not fire: a deploy job that reads fifty secrets every time, also a few new ones, and in the night', () => {
  const insiders = new Insiders(OPTIONS)
  const deploy = using(insiders, 'secrets', 'service:deploy')
  for (let day = 0; day < 40; day += 1)
    assert.deepEqual(deploy(at(day, isWeekday(day) ? 15 : 11), ...names(50), ...names(day % 3, `new-${day}`)), [], `day ${day}`)
  assert.deepEqual(deploy(at(40, 3), ...names(50)), [], 'by night')
})

test('what must not fire: a new employee, in the first week and in those that follow', () => {
  const insiders = new Insiders(OPTIONS)
  const [secrets, admin, account] = INSIDER_SORTS.map((sort) => using(insiders, sort, 'shop\n0123')) as [
    ReturnType<typeof using>,
    ReturnType<typeof using>,
    ReturnType<typeof using>,
  ]
  for (let day = 0; day < 30; day += 1) {
    if (!isWeekday(day)) continue
    // All at once in the first days, then some that are new each day.
    const count = day < 5 ? 30 : 3
    for (const hour of [8, 10, 13, 16]) {
      assert.deepEqual(secrets(at(day, hour), ...names(count, `${day}`), ...names(10)), [], `day ${day}`)
      assert.deepEqual(admin(at(day, hour), ...names(day < 5 ? 8 : 1, `${day}`)), [], `day ${day}`)
      assert.deepEqual(account(at(day, hour), ...names(count, `${day}`)), [], `day ${day}`)
    }
  }
})

test('what must not fire: whoever signed in once a week before the first day of work', () => {
  const insiders = new Insiders(OPTIONS)
  const ada = using(insiders, 'secrets', 'operator:ada')
  ada(at(0, 9), 'handbook')
  assert.deepEqual(ada(at(7, 9), ...names(40)), [])
})

test('what must not fire: the return from three weeks of holidays to the usual things, and from two months to all of them', () => {
  for (const away of [21, 60]) {
    const insiders = new Insiders(OPTIONS)
    const ada = using(insiders, 'secrets', 'operator:ada')
    for (let day = 0; day < 20; day += 1) if (isWeekday(day)) ada(at(day, 10), ...names(15))
    const back = 20 + away - ((20 + away) % 7)
    for (let day = back; day < back + 5; day += 1) assert.deepEqual(ada(at(day, 10), ...names(15)), [], `${away} days away`)
  }
})

test('what must not fire: a night on call, with operations that are used by day too', () => {
  const insiders = new Insiders(OPTIONS)
  const ada = using(insiders, 'admin', 'operator:ada')
  const work = ['deny.add', 'deny.remove', 'policy.put', 'node.drain', 'node.cordon']
  for (let day = 0; day < 28; day += 1) if (isWeekday(day)) ada(at(day, 11), ...work)
  for (const hour of [1, 2, 4]) assert.deepEqual(ada(at(28, hour), ...work), [])
})

test('an administrative operation for the first time at an hour of no activity fires; by day it does not', () => {
  const insiders = new Insiders(OPTIONS)
  const ada = using(insiders, 'admin', 'operator:ada')
  for (let day = 0; day < 28; day += 1)
    if (isWeekday(day)) for (const hour of [9, 11, 14, 16]) ada(at(day, hour), 'deny.add', 'policy.put')
  assert.deepEqual(ada(at(28, 13), 'node.drain'), [])
  assert.deepEqual(ada(at(29, 3), 'deny.add'), [])
  assert.deepEqual(ada(at(29, 3, 5), 'vault.rules'), [
    {
      sort: 'admin',
      subject: 'operator:ada',
      what: 'odd-hour',
      reason:
        'used 1 administrative operation for the first time between 03:00 and 04:00 UTC on a weekday, when it was never active in the last 29 days',
    },
  ])
  assert.deepEqual(ada(at(29, 3, 10), 'key.rotate'), [], 'said once in the hour')
})

test('far more than ever of things that are known fires, and again when it is twice as much; half of it does not', () => {
  const insiders = new Insiders(OPTIONS)
  const program = using(insiders, 'secrets', 'service:report')
  const all = Array.from({ length: 10 }, (_, group) => names(12, `at-${group}`))
  for (let day = 0; day < 24; day += 1)
    for (const [group, some] of all.entries()) assert.deepEqual(program(at(day, 2 * group + 3), ...some), [])
  assert.deepEqual(program(at(24, 12), ...all.slice(0, 2).flat()), [])
  const found = program(at(25, 12), ...all.flat())
  assert.deepEqual(
    found.map(({ what }) => what),
    ['many'],
  )
  assert.match(found[0]!.reason, /^opened (9[5-9]|10[0-5]) secrets within an hour; in the last 25 days at most 2\d an hour$/)
  assert.deepEqual(program(at(25, 12, 20), ...all.flat()), [], 'the same again')
  const others = using(insiders, 'secrets', 'service:report')(at(25, 12, 25), ...names(120, 'more'))
  assert.deepEqual(
    others.map(({ what }) => what),
    ['first', 'many'],
  )
})

test('an account that walks through endpoints it never used is found, whatever the paths are', () => {
  const insiders = new Insiders(OPTIONS)
  const use = (atMs: number, endpoint: string, path: string) =>
    insiders.observe({ atMs, sort: 'account', subject: 'shop\n0123', item: hashText(endpoint), thing: hashText(path) })
  for (let day = 0; day < 20; day += 1)
    for (let count = 0; count < 60; count += 1)
      assert.deepEqual(use(at(day, 10, count % 30), `GET /orders/{}`, `/orders/${day * 60 + count}`), [])
  const found: InsiderFinding[] = []
  for (let count = 0; count < 15; count += 1) found.push(...use(at(20, 10, count), `GET /admin/${count}`, `/admin/${count}`))
  assert.deepEqual(
    found.map(({ what, subject }) => [what, subject]),
    [['first', 'shop\n0123']],
  )
  assert.match(found[0]!.reason, /^used 12 endpoints within an hour for the first time; in the last 20 days it used 1, at most /)
})

/** What ada does, seen by one node or by both in turn. */
function twoNodes() {
  const [one, other] = [new Insiders(OPTIONS), new Insiders(OPTIONS)]
  const tell = (nowMs: number): void => {
    const summaries = [one.summary(), other.summary()] as const
    if (summaries[0] !== undefined) other.merge(summaries[0], nowMs)
    if (summaries[1] !== undefined) one.merge(summaries[1], nowMs)
  }
  return { one, other, tell }
}

test('what another node learned counts here: what is usual there is not new here', () => {
  const { one, other, tell } = twoNodes()
  const [here, there] = [using(one, 'secrets', 'operator:ada'), using(other, 'secrets', 'operator:ada')]
  for (let day = 0; day < 20; day += 1) {
    there(at(day, 10), ...names(30))
    here(at(day, 10), 'shop/db')
    tell(at(day, 10, 5))
  }
  assert.deepEqual(here(at(20, 10), ...names(30)), [])
  const alone = new Insiders(OPTIONS)
  const without = using(alone, 'secrets', 'operator:ada')
  for (let day = 0; day < 20; day += 1) without(at(day, 10), 'shop/db')
  assert.equal(without(at(20, 10), ...names(30))[0]?.what, 'first')
})

test('what is spread evenly over two nodes counts in full; a node that lies makes nobody who did nothing an insider', () => {
  const { one, other, tell } = twoNodes()
  const [here, there] = [using(one, 'secrets', 'operator:ada'), using(other, 'secrets', 'operator:ada')]
  for (let day = 0; day < 20; day += 1) {
    here(at(day, 10), 'shop/db')
    there(at(day, 10, 1), 'shop/db')
    tell(at(day, 10, 5))
  }
  const found: InsiderFinding[] = []
  for (let count = 0; count < 12; count += 1) {
    found.push(...(count % 2 === 0 ? here : there)(at(20, 10, count), `secret-${count}`))
    tell(at(20, 10, count))
  }
  assert.equal(found[0]?.what, 'first')
  // Told of a hundred by a liar: as many as were seen here, and no more.
  const lie = new Insiders(OPTIONS)
  using(lie, 'secrets', 'operator:bob')(at(20, 10), ...names(100))
  const bob = using(one, 'secrets', 'operator:bob')
  for (let day = 0; day < 20; day += 1) bob(at(day, 10), 'shop/db')
  one.merge(lie.summary()!, at(20, 10, 2))
  assert.deepEqual(bob(at(20, 10, 3), 'shop/db', 'new-1', 'new-2'), [])
})

test('a time to come, from a node whose clock lies, keeps nothing of the present out', () => {
  const lie = new Insiders(OPTIONS)
  using(lie, 'secrets', 'operator:ada')(at(3_000, 10), ...names(40))
  const insiders = new Insiders(OPTIONS)
  const ada = using(insiders, 'secrets', 'operator:ada')
  ada(at(0, 10), 'shop/db')
  const before = insiders.summary()!
  insiders.merge(lie.summary()!, at(0, 11))
  for (let day = 0; day < 10; day += 1) ada(at(day, 10), 'shop/db')
  assert.equal(ada(at(10, 10), ...names(14))[0]?.what, 'first')
  assert.ok(before.length > 0)
})

test('what was learned is there again after a restart', () => {
  const before = new Insiders(OPTIONS)
  const names14 = names(14)
  for (let day = 0; day < 20; day += 1) using(before, 'secrets', 'operator:ada')(at(day, 10), ...names14)
  for (let other = 0; other < 130; other += 1) using(before, 'admin', `operator:o${other}`)(at(19, 10), 'deny.add')
  const again = new Insiders(OPTIONS)
  for (const piece of before.memory()) again.restore(piece, at(20, 0))
  assert.equal(again.size.identities, 131)
  const ada = using(again, 'secrets', 'operator:ada')
  assert.deepEqual(ada(at(20, 10), ...names14), [])
  assert.equal(ada(at(20, 10, 5), ...names(14, 'other'))[0]?.what, 'first')
})

test('bounded: so many identities of so many bytes; those that did something last stay', () => {
  const insiders = new Insiders({ ...OPTIONS, identitiesMax: 100 })
  for (let identity = 0; identity < 150; identity += 1)
    using(insiders, 'admin', `operator:o${identity}`)(at(0, 9, identity % 60), 'deny.add')
  assert.deepEqual(insiders.size, { identities: 100, evicted: 50 })
  assert.equal(newProfile().byteLength, 974)
  assert.ok((insiders.summary()?.length ?? 0) <= 1 + 64 * (2 + 255 + 974))
})

test('counts are those of a set, within what is said of them', () => {
  for (const [count, error] of [
    [10, 1],
    [50, 4],
    [200, 16],
    [500, 60],
  ] as const) {
    const profile = newProfile()
    for (const name of names(count)) noteUse(profile, at(0, 10), hashText(name), hashText(name), true)
    for (const which of ['all', 'first'] as const) {
      const counted = usedWithinHour({ own: profile, told: undefined }, at(0, 10, 10), which)
      assert.ok(Math.abs(counted - count) <= error, `${counted} of ${count}`)
    }
    if (count <= 200) assert.ok(Math.abs(knownCount({ own: profile, told: undefined }, at(0, 10)) - count) <= 0.1 * count)
    assert.equal(usedWithinHour({ own: profile, told: undefined }, at(0, 12), 'all'), 0)
  }
})

const NOW = at(40, 12)
const someProfile: fc.Arbitrary<Profile> = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 41 * 24 }), fc.integer({ min: 0, max: 30 }), fc.boolean()), { maxLength: 30 })
  .map((uses) => {
    const profile = newProfile()
    for (const [hour, item, isFirst] of uses.sort(([a], [b]) => a - b)) {
      noteUse(profile, at(0, hour), hashText(`${item}`), hashText(`${item}`), isFirst)
      noteMost(profile, at(0, hour), item)
    }
    return profile
  })
const joined = (...profiles: readonly Profile[]): Profile => {
  const into = newProfile()
  for (const profile of profiles) joinProfile(into, profile, NOW)
  return into
}

test('property: profiles join associative, commutative and idempotent', () => {
  fc.assert(
    fc.property(someProfile, someProfile, someProfile, (a, b, c) => {
      assert.deepEqual(joined(a, b), joined(b, a))
      assert.deepEqual(joined(joined(a, b), c), joined(a, joined(b, c)))
      assert.deepEqual(joined(a, a), joined(a))
      assert.equal(joinProfile(joined(a, b), b, NOW), false)
    }),
  )
})

test('property: a summary is read back as it was written, and whatever else is told is refused or read as it is written', () => {
  const subject = fc
    .tuple(fc.constantFrom(...INSIDER_SORTS), fc.stringMatching(/^[a-zé:\n]{1,40}$/))
    .map(([sort, text]) => `${sort}\n${text}`)
  fc.assert(
    fc.property(fc.uniqueArray(fc.tuple(subject, someProfile), { maxLength: 4, selector: ([key]) => key }), (entries) => {
      const profiles = new Map(entries)
      const bytes = encodeInsiderSummary(profiles)
      assert.deepEqual(new Map([...decodeInsiderSummary(bytes)].sort()), new Map([...profiles].sort()))
    }),
    { numRuns: 50 },
  )
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2_500 }), fc.boolean(), (bytes, isVersion) => {
      const given = isVersion ? Uint8Array.from([8, ...bytes]) : bytes
      try {
        assert.deepEqual(encodeInsiderSummary(decodeInsiderSummary(given)), given)
      } catch (error) {
        assert.equal((error as Error).name, 'SummaryMalformed')
      }
    }),
  )
})

test('property: whatever words a liar tells, what is judged by them is a number, and nobody is found who did nothing', () => {
  const words = fc.uint8Array({ minLength: PROFILE_WORDS * 2, maxLength: PROFILE_WORDS * 2 })
  fc.assert(
    fc.property(words, (bytes) => {
      const insiders = new Insiders(OPTIONS)
      const ada = using(insiders, 'secrets', 'operator:ada')
      ada(at(39, 12), 'shop/db')
      insiders.merge(encodeInsiderSummary(new Map([['secrets\noperator:ada', new Uint16Array(bytes.slice().buffer)]])), NOW)
      assert.deepEqual(ada(NOW, 'shop/db', 'shop/mail'), [])
      const told = new Uint16Array(bytes.slice().buffer)
      assert.ok(Number.isFinite(pastOf({ own: newProfile(), told }, NOW).most))
      assert.ok(Number.isFinite(knownCount({ own: newProfile(), told }, NOW)))
    }),
    { numRuns: 50 },
  )
})

test('whoever makes accounts without end pushes out accounts, never operators and programs', () => {
  const insiders = new Insiders({ ...OPTIONS, identitiesMax: 20 })
  using(insiders, 'admin', 'operator:ada')(at(0, 9), 'deny.add')
  using(insiders, 'secrets', 'service:billing')(at(0, 9), 'key')
  for (let account = 0; account < 500; account += 1) using(insiders, 'account', `shop\n${account}`)(at(1, 9), 'GET /')
  assert.deepEqual(insiders.counts(), { secrets: 1, admin: 1, account: 20 })
  assert.equal(insiders.size.evicted, 480)
})

test('after a clock that was ahead for an hour, by a day or forty, the usual is usual, and what is out of it is found', () => {
  for (const ahead of [2, 40]) {
    const insiders = new Insiders(OPTIONS)
    const ada = using(insiders, 'secrets', 'operator:ada')
    for (let day = 0; day < 20; day += 1) ada(at(day, 9), ...names(8))
    ada(at(20 + ahead, 9), ...names(2))
    insiders.setBack(at(20, 10))
    for (let day = 20; day < 24; day += 1) assert.deepEqual(ada(at(day, 9), ...names(8)), [])
    assert.equal(ada(at(24, 9), ...names(14, 'other')).length, 1)
  }
})
