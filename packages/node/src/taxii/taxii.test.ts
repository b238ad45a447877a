import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { DiskSeal } from '@ringwall/store'
import fc from 'fast-check'
import type { FeedAnswer } from '../feeds/ask-feed.ts'
import { TaxiiFeed } from '../feeds/taxii-feed.ts'
import { loadIndicators } from '../indicators/indicator-loader.ts'
import { DerivedShelf } from './derived.ts'
import { Inbox } from './inbox.ts'
import { formatMoment, nestingOf, parseFilter, parseMoment, TAXII_TYPE, TaxiiError, uuidOf } from './protocol.ts'
import { ObjectShelf } from './shelf.ts'
import { entryOf, StixInvalid } from './stix-object.ts'
import { type TaxiiCollection, TaxiiServer } from './taxii-server.ts'

const root = mkdtempSync(join(tmpdir(), 'ringwall-taxii-'))
after(() => rmSync(root, { recursive: true, force: true }))
let folders = 0
const folder = (): string => join(root, `f${(folders += 1)}`)
const seal = new DiskSeal({ root, current: new Uint8Array(32).fill(7), earlier: [], acceptsPlain: false })

const T0 = 1_800_000_000_000
const iso = (ms: number): string => new Date(ms).toISOString()
const indicator = (number: number, more: object = {}) => ({
  type: 'indicator',
  spec_version: '2.1',
  id: `indicator--${uuidOf(String(number))}`,
  created: iso(T0),
  modified: iso(T0),
  pattern: `[ipv4-addr:value = '198.51.${number >> 8}.${number & 255}']`,
  pattern_type: 'stix',
  valid_from: iso(T0),
  ...more,
})

test('property: moments are read as they are written, to the microsecond', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 8e15 }), (micros) => {
      assert.equal(parseMoment(formatMoment(micros)), micros)
    }),
  )
  for (const text of ['2027-02-30T00:00:00Z', '2027-01-01', '2027-01-01T00:00:00+01:00', '', '2027-13-01T00:00:00Z'])
    assert.equal(parseMoment(text), undefined, text)
})

test('property: whatever page size is asked for, going on by next or by the moment of the last gives each object once and in order', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 5 })), { maxLength: 60 }),
      fc.integer({ min: 1, max: 7 }),
      fc.constantFrom('all', 'last', 'first'),
      (made, limit, version) => {
        const shelf = new ObjectShelf()
        for (const [number, step] of made) {
          const entry = entryOf(indicator(number, { modified: iso(T0 + step * 1_000) }), shelf.nextAdded(T0))
          if (!shelf.has(entry.id, entry.version)) shelf.add(entry)
        }
        const found: string[] = []
        for (let [next, isMore] = ['', true]; isMore; ) {
          const query = new URLSearchParams({ limit: String(limit), 'match[version]': version, ...(next === '' ? {} : { next }) })
          const page = shelf.select(parseFilter(query, ['version']))
          found.push(...page.entries.map(({ id, versionText }) => `${id} ${versionText}`))
          isMore = page.more
          next = String(page.entries.at(-1)?.added ?? '')
        }
        const ids = new Set(made.map(([number]) => number))
        const versions = new Set(made.map(String))
        assert.equal(found.length, version === 'all' ? versions.size : ids.size)
        assert.equal(new Set(found).size, found.length)
      },
    ),
  )
})

test('filters that cannot be read are refused, and unknown ones are passed over', () => {
  const read = (text: string) => parseFilter(new URLSearchParams(text), ['id', 'type', 'spec_version', 'version'])
  for (const text of [
    'limit=0',
    'limit=-1',
    'limit=x',
    'added_after=soon',
    'next=x',
    'match[version]=new',
    'match[id]=',
    'limit=1&limit=2',
  ])
    assert.throws(() => read(text), TaxiiError, text)
  assert.equal(read('limit=99999&match[colour]=red').limit, 1_000)
})

test('objects that are none are refused with the place of the fault', () => {
  const table: readonly (readonly [unknown, RegExp])[] = [
    [7, /an object/],
    [{ type: 'X' }, /^\/type/],
    [{ type: 'indicator', id: 'indicator--1' }, /^\/id/],
    [indicator(1, { modified: 'yesterday' }), /^\/modified/],
    [indicator(1, { spec_version: '3' }), /^\/spec_version/],
    [indicator(1, { pattern: 7 }), /^\/pattern/],
    [indicator(1, { confidence: 101 }), /confidence/],
    [indicator(1, { name: 'x'.repeat(70_000) }), /65536/],
  ]
  for (const [value, fault] of table)
    assert.throws(
      () => entryOf(value, 1),
      (error) => error instanceof StixInvalid && fault.test(error.message),
      JSON.stringify(value).slice(0, 80),
    )
})

test('property: the depth of a JSON text is what its brackets outside of texts say', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 6 }), (text) => {
      const depth = (value: unknown): number =>
        typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depth)) : 0
      assert.equal(nestingOf(text), depth(JSON.parse(text)))
    }),
  )
})

test('what is denied is told once, changed as a new version, revoked when it is lifted, and gone when it ends', () => {
  const derived = new DerivedShelf('ring', 'denials', T0)
  const one = { value: '198.51.100.7', name: 'stuffing', confidence: 95, fromMs: T0 - 5_000, untilMs: T0 + 60_000 }
  const told = (after: number): readonly Record<string, unknown>[] =>
    derived.shelf
      .select({ after, limit: 100, versions: new Set(['last']) })
      .entries.map(({ text }) => JSON.parse(text) as Record<string, unknown>)
  derived.follow([one, { ...one, value: '2001:db8::/48' }], T0)
  assert.deepEqual(
    told(0).map(({ pattern }) => pattern),
    [undefined, "[ipv4-addr:value = '198.51.100.7']", "[ipv6-addr:value = '2001:db8::/48']"],
  )
  const mark = derived.shelf.entries().at(-1)!.added
  derived.follow([one, { ...one, value: '2001:db8::/48' }], T0 + 1_000)
  assert.deepEqual(told(mark), [])
  derived.follow([{ ...one, untilMs: T0 + 90_000 }], T0 + 2_000)
  assert.deepEqual(
    told(mark).map(({ revoked, valid_until: until }) => [revoked, until]),
    [
      [undefined, '2027-01-15T08:01:30.000000Z'],
      [true, '2027-01-15T08:01:00.000000Z'],
    ],
  )
  const size = derived.shelf.size
  derived.follow([], T0 + 90_001)
  assert.equal(derived.shelf.size, size - 1)
})

test('what was posted is there after a restart, in every version, sealed, and what was deleted is not', async () => {
  const options = { folder: folder(), seal, objectsMax: 400, onChange: () => {} }
  const inbox = await Inbox.open(options)
  const status = await inbox.post(
    [indicator(1), indicator(1), indicator(1, { modified: iso(T0 + 1_000) }), { type: 'x' }, indicator(2)],
    'a',
    T0,
  )
  assert.deepEqual([status.success_count, status.failure_count], [4, 1])
  assert.match(status.failures[0]?.message ?? '', /^\/objects\/3: \/type/)
  assert.equal(inbox.status(status.id, 'a'), status)
  assert.equal(inbox.status(status.id, 'b'), undefined)
  // More posts than pages are kept.
  for (let number = 3; number < 90; number += 1) await inbox.post([indicator(number)], 'a', T0)
  assert.equal(await inbox.remove(indicator(2).id, () => true), 1)
  const again = await Inbox.open(options)
  assert.deepEqual(
    again.shelf.entries().map(({ id, added }) => [id, added]),
    inbox.shelf.entries().map(({ id, added }) => [id, added]),
  )
  assert.equal(again.shelf.versionsOf(indicator(1).id).length, 2)
  assert.equal(again.shelf.versionsOf(indicator(2).id).length, 0)
  const { parts } = await loadIndicators(
    { name: 'x', path: options.folder, format: 'inbox', confidence: 50, trust: 50, ttlMs: undefined, indicatorsMax: 1_000 },
    T0,
    seal,
  )
  assert.deepEqual([parts.size, parts.confidences[0]], [88, 25])
})

test('an inbox takes what fits, and says so of the rest', async () => {
  const inbox = await Inbox.open({ folder: folder(), seal, objectsMax: 2, onChange: () => {} })
  const status = await inbox.post(
    [1, 2, 3].map((number) => indicator(number)),
    'a',
    T0,
  )
  assert.deepEqual([status.success_count, status.failures[0]?.message], [2, '/objects/2: the collection is full'])
})

async function serve(t: { after(run: () => Promise<void>): void }) {
  const inbox = await Inbox.open({ folder: folder(), seal, objectsMax: 5_000, onChange: () => {} })
  const collection: TaxiiCollection = {
    id: uuidOf('inbox'),
    alias: 'inbox',
    title: 'inbox',
    description: '',
    shelf: () => inbox.shelf,
    inbox,
  }
  const caller = (name: string, write: boolean) => ({ name, mayRead: () => name !== 'blind', mayWrite: () => write })
  const server = new TaxiiServer({
    config: { listen: { host: '127.0.0.1', port: 0 }, tls: undefined, share: [] },
    title: 'test',
    collections: [collection],
    client: (name, key) => (key === 'key' ? caller(name, name !== 'reader') : undefined),
    operator: () => undefined,
    say: () => {},
  })
  const port = await server.start()
  t.after(() => server.stop())
  const ask = async (path: string, { user = 'writer', ...init }: RequestInit & { readonly user?: string } = {}) => {
    const authorization = `Basic ${Buffer.from(`${user}:key`).toString('base64')}`
    const headers = { accept: TAXII_TYPE, 'content-type': TAXII_TYPE, authorization, ...init.headers }
    const response = await fetch(`http://127.0.0.1:${port}/taxii2/${path}`, { ...init, headers })
    return { status: response.status, headers: response.headers, json: (await response.json()) as Record<string, unknown> }
  }
  return { ask, inbox, port }
}

test('the server answers in the words of TAXII, and refuses who and what it should', async (t) => {
  const { ask, inbox } = await serve(t)
  await inbox.post(
    [1, 2, 3].map((number) => indicator(number)),
    'writer',
    T0,
  )
  const objects = 'ring/collections/inbox/objects/'
  const post = (body: string, more: RequestInit & { readonly user?: string } = {}) =>
    ask(objects, { method: 'POST', body, ...more })
  const deep = `{"objects":[${'['.repeat(200)}${']'.repeat(200)}]}`
  const table: readonly (readonly [string, Promise<{ readonly status: number }>, number])[] = [
    ['no credentials', ask('', { headers: { authorization: '' } }), 401],
    ['a wrong key', ask('', { headers: { authorization: `Basic ${btoa('writer:x')}` } }), 401],
    ['an older version', ask('', { headers: { accept: 'application/vnd.oasis.taxii+json; version=2.0' } }), 406],
    ['nothing there', ask('ring/collections/none/'), 404],
    ['no such object', ask(`${objects}indicator--x/`), 404],
    ['a method', ask('', { method: 'PUT' }), 405],
    ['a filter', ask(`${objects}?limit=0`), 400],
    ['another type', post('{}', { headers: { 'content-type': 'application/json' } }), 415],
    ['no JSON', post('x'), 400],
    ['no objects', post('{"objects":[]}'), 422],
    ['nesting', post(deep), 422],
    ['a reader that posts', post(JSON.stringify({ objects: [indicator(9)] }), { user: 'reader' }), 403],
    ['a writer that reads', ask(objects, { user: 'blind' }), 403],
    ['a reader that deletes', ask(`${objects}${indicator(1).id}/`, { method: 'DELETE', user: 'reader' }), 403],
    ['too much', post(`{"objects":["${'x'.repeat(4_300_000)}"]}`), 413],
  ]
  for (const [what, answer, status] of table) assert.equal((await answer).status, status, what)
  const page = await ask(`${objects}?limit=2`)
  assert.equal(page.headers.get('content-type'), TAXII_TYPE)
  assert.deepEqual([(page.json.objects as readonly unknown[]).length, page.json.more], [2, true])
  const rest = await ask(`${objects}?added_after=${page.headers.get('x-taxii-date-added-last')}`)
  assert.deepEqual([(rest.json.objects as readonly { id: string }[])[0]?.id, rest.json.more], [indicator(3).id, undefined])
  const posted = await post(JSON.stringify({ objects: [indicator(1, { modified: iso(T0 + 9_000) })] }))
  assert.equal(posted.status, 202)
  assert.deepEqual((await ask(`ring/status/${String(posted.json.id)}/`)).json, posted.json)
  assert.equal((await ask(`ring/status/${String(posted.json.id)}/`, { user: 'reader' })).status, 404)
  assert.deepEqual((await ask(`${objects}${indicator(1).id}/versions/`)).json, { versions: [iso(T0), iso(T0 + 9_000)] })
  assert.equal((await ask(`${objects}${indicator(1).id}/?match[version]=first`, { method: 'DELETE' })).status, 200)
  const manifest = (await ask('ring/collections/inbox/manifest/')).json.objects as readonly { id: string; version: string }[]
  assert.deepEqual(
    manifest.map(({ id, version }) => [id, version]),
    [
      [indicator(2).id, iso(T0)],
      [indicator(3).id, iso(T0)],
      [indicator(1).id, iso(T0 + 9_000)],
    ],
  )
})

function feedOf(
  answers: (FeedAnswer | Error)[],
  where = folder(),
  more: { readonly objectsMax?: number; readonly wholeMs?: number } = {},
) {
  const asked: string[] = []
  const lines: string[] = []
  const feed = new TaxiiFeed({
    config: {
      name: 'isac',
      url: new URL('https://taxii.example/root/collections/1/'),
      credentials: undefined,
      ca: undefined,
      everyMs: 1_000,
      wholeMs: 3_600_000,
      objectsMax: 100,
      ...more,
    },
    folder: where,
    seal,
    log: (_, line) => lines.push(line),
    onChange: () => {},
    ask: (path) => {
      asked.push(decodeURIComponent(path))
      const answer = answers.shift() ?? new Error('not asked for')
      return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer)
    },
  })
  const load = async () =>
    (
      await loadIndicators(
        { name: 'x', path: where, format: 'taxii', confidence: 50, ttlMs: undefined, indicatorsMax: 100 },
        T0,
        seal,
      )
    ).parts.size
  return { feed, asked, lines, load, where }
}
const page = (objects: readonly object[], more: object = {}, added = '', type = TAXII_TYPE): FeedAnswer => ({
  status: 200,
  headers: { 'content-type': type, ...(added === '' ? {} : { 'x-taxii-date-added-last': added }) },
  text: JSON.stringify({ objects, ...more }),
})

test('a collection is taken in page by page, then what is new, and what is revoked lapses', async () => {
  const answers = [
    page([indicator(1), { type: 'malware' }], { more: true, next: 'n1' }, '2027-01-01T00:00:01Z'),
    page([indicator(2)], { more: true }, '2027-01-01T00:00:02Z'),
    page([indicator(3)], {}, '2027-01-01T00:00:03.5Z'),
    page([], {}),
    page([indicator(1, { modified: iso(T0 + 1_000), revoked: true })], {}, '2027-01-01T00:00:04Z'),
  ]
  const { feed, asked, load, where } = feedOf(answers)
  await feed.open()
  await feed.pull(T0)
  assert.equal(await load(), 3)
  await feed.pull(T0 + 1_000)
  await feed.pull(T0 + 2_000)
  assert.equal(await load(), 2)
  assert.deepEqual(
    asked.map((path) => path.replace('objects/?match[type]=indicator&limit=1000', '')),
    [
      '',
      '&next=n1',
      '&added_after=2027-01-01T00:00:02Z',
      '&added_after=2027-01-01T00:00:03.5Z',
      '&added_after=2027-01-01T00:00:03.5Z',
    ],
  )
  const { held, leftOut, problem } = feed.status()
  assert.deepEqual([held, leftOut, problem], [4, 1, null])
  // After a restart it goes on from there, and after a day it asks for all: what is no longer there is gone.
  const next = feedOf([page([], {}), page([indicator(3)], {}, '2027-01-01T00:00:04Z')], where)
  await next.feed.open()
  await next.feed.pull(T0 + 3_000)
  assert.match(next.asked[0] ?? '', /added_after=2027-01-01T00:00:04Z/)
  await next.feed.pull(T0 + 3_600_000)
  assert.doesNotMatch(next.asked[1] ?? '', /added_after/)
  assert.equal(await next.load(), 1)
})

test('a server that fails, lies or goes round in circles changes nothing', async () => {
  const good = page([indicator(1)], {}, '2027-01-01T00:00:01Z')
  const { feed, load, lines } = feedOf([
    good,
    new Error('refused'),
    { status: 503, headers: { 'retry-after': '7' }, text: '' },
    page([], {}, '', 'text/html'),
    { ...good, text: '<html>' },
    { ...good, text: '{"objects":7}' },
    { ...good, text: `{"objects":[${'['.repeat(500)}${']'.repeat(500)}]}` },
    page([indicator(2)], { more: true, next: 'n' }),
    { ...good, text: '{"more":true,"next":"n"}' },
    page([indicator(2)], { more: true }, '2027-01-01T00:00:01Z'),
  ])
  await feed.open()
  await feed.pull(T0)
  const problems: (string | null)[] = []
  for (let time = 1; time < 8; time += 1) {
    await feed.pull(T0 + time)
    problems.push(feed.status().problem)
  }
  assert.deepEqual(
    problems.map((problem) => /refused|503|text\/html|no JSON|\/objects|levels|more/.exec(problem ?? '')?.[0]),
    ['refused', '503', 'text/html', 'no JSON', '/objects', 'more', 'more'],
  )
  assert.equal(lines.length, 1)
  assert.equal(feed.status().held, 1)
  assert.ok((await load()) >= 1)
})

test('more than a source may hold is counted', async () => {
  const { feed } = feedOf(
    [
      page(
        [1, 2, 3].map((number) => indicator(number)),
        {},
        '2027-01-01T00:00:01Z',
      ),
    ],
    folder(),
    { objectsMax: 2 },
  )
  await feed.open()
  await feed.pull(T0)
  const { held, refused } = feed.status()
  assert.deepEqual([held, refused], [2, 1])
})

test('a page that somebody changed on disk is not read', async () => {
  const where = folder()
  await (await Inbox.open({ folder: where, seal, objectsMax: 9, onChange: () => {} })).post([indicator(1)], 'a', T0)
  writeFileSync(join(where, '00000001.json'), '{"format":"ringwall/stix-page/1","objects":[]}')
  await assert.rejects(Inbox.open({ folder: where, seal, objectsMax: 9, onChange: () => {} }))
})
