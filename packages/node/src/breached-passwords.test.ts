import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { BreachedPasswords } from './breached-passwords.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringwall-breached-'))
after(() => rmSync(folder, { recursive: true, force: true }))
const sha1 = (text: string): string => createHash('sha1').update(text, 'utf8').digest('hex').toUpperCase()

const lines: string[] = []
const open = (path: string): Promise<BreachedPasswords> => BreachedPasswords.open(path, { log: (line) => lines.push(line) })

/** As the ranges are downloaded: a file for each prefix. */
function ranges(
  name: string,
  passwords: readonly (readonly [string, number])[],
  written: (text: string) => string,
  suffix = '',
): string {
  const path = join(folder, name)
  mkdirSync(path)
  const files = new Map<string, string[]>()
  for (const [password, count] of passwords) {
    const hash = sha1(password)
    const held = files.get(hash.slice(0, 5)) ?? []
    files.set(hash.slice(0, 5), [...held, `${hash.slice(5)}:${count}`].sort())
  }
  for (const [prefix, all] of files) writeFileSync(join(path, `${prefix}${suffix}`), written(all.join('\n')))
  return path
}

function oneFile(name: string, passwords: readonly string[], end = '\n'): string {
  const path = join(folder, name)
  const hashes = passwords.map((password, at) => `${sha1(password)}:${at + 1}`).sort()
  writeFileSync(path, hashes.join(end) + end)
  return path
}

test('a folder of ranges: what is in it is found, also with carriage returns, beyond ASCII, and with .txt', async () => {
  const held = ['123456', 'pässwörd', 'a b+c', '密码'].map((text) => [text, 3] as const)
  for (const [name, suffix, written] of [
    ['plain', '', (text: string) => `${text}\n`],
    ['dos', '.txt', (text: string) => text.replaceAll('\n', '\r\n')],
  ] as const) {
    const list = await open(ranges(name, held, written, suffix))
    for (const [password] of held) assert.equal(await list.has(password), true, `${name} ${password}`)
    for (const other of ['1234567', 'passwörd', 'A B+C']) assert.equal(await list.has(other), false, other)
    assert.equal(list.has(''), false)
    await list.close()
  }
})

test('lines that are there to make all ranges equally long count as none', async () => {
  const list = await open(
    ranges(
      'padded',
      [
        ['padding', 0],
        ['123456', 9],
      ],
      (text) => text,
    ),
  )
  assert.equal(await list.has('padding'), false)
  assert.equal(await list.has('123456'), true)
})

test('property: one file of hashes in order: exactly what is in it is found, however long it is', async () => {
  const all = Array.from({ length: 20_000 }, (_, at) => `password-${at}`)
  for (const [name, count, end] of [
    ['one', 1, '\n'],
    ['few', 300, '\r\n'],
    ['many', 20_000, '\n'],
  ] as const) {
    const held = all.slice(0, count)
    const list = await open(oneFile(name, held, end))
    await fc.assert(
      fc.asyncProperty(fc.nat(count - 1), fc.string({ maxLength: 20 }), async (at, other) => {
        assert.equal(await list.has(held[at]!), true)
        assert.equal(await list.has(`not ${other}`), false)
      }),
      { numRuns: 60 },
    )
    // The very first and last.
    const sorted = [...held].sort((a, b) => (sha1(a) < sha1(b) ? -1 : 1))
    assert.equal(await list.has(sorted[0]!), true)
    assert.equal(await list.has(sorted.at(-1)!), true)
    await list.close()
  }
})

test('hashes that are not spread evenly are found as well', async () => {
  const path = join(folder, 'skewed')
  const odd = Array.from({ length: 5_000 }, (_, at) => `00000${at.toString(16).toUpperCase().padStart(35, '0')}:1`)
  const hash = sha1('123456')
  writeFileSync(path, `${[...odd, `${hash}:7`].sort().join('\n')}\n`)
  const list = await open(path)
  assert.equal(await list.has('123456'), true)
  assert.equal(await list.has('1234567'), false)
  await list.close()
})

test('what is no list is refused when it is opened, with what was expected', async () => {
  const bad = join(folder, 'bad')
  writeFileSync(bad, 'password\n123456\n')
  await assert.rejects(open(bad), /breachedPasswords: .*bad:1: "password"; expected whole SHA-1 hashes in order/)
  writeFileSync(bad, `${'F'.repeat(40)}:1\n${'0'.repeat(40)}:1\n`)
  await assert.rejects(open(bad), /bad:2: "0000/)
  await assert.rejects(open(join(folder, 'missing')), /ENOENT/)
  const empty = join(folder, 'empty')
  mkdirSync(empty)
  await assert.rejects(open(empty), /has no ranges; expected files such as 21BD1/)
  writeFileSync(join(empty, 'ABCDE'), 'hello\n')
  await assert.rejects(open(empty), /ABCDE:1: "hello"/)
})

test('a list that breaks while it is used is said once, without the password, and nobody is held up', async () => {
  const path = join(folder, 'broken')
  writeFileSync(path, `${'0'.repeat(40)}:1\n${`${'x'.repeat(60)}\n`.repeat(2_000)}`)
  // Its first lines are right.
  const good = Array.from({ length: 200 }, (_, at) => `${at.toString(16).toUpperCase().padStart(40, '0')}:1`).join('\n')
  writeFileSync(path, `${good}\n${`${'x'.repeat(60)}\n`.repeat(2_000)}`)
  const list = await open(path)
  lines.length = 0
  for (let at = 0; at < 3; at++) assert.equal(await list.has('hunter2'), false)
  assert.equal(lines.length, 1)
  assert.doesNotMatch(lines[0]!, /hunter2/)
  await list.close()
})

test('too many at once: the others pass unseen, and nothing is queued', async () => {
  const list = await open(oneFile('crowd', ['123456']))
  const answers = Array.from({ length: 1_000 }, () => list.has('123456'))
  assert.equal(answers.filter((answer) => answer === false).length, 936)
  assert.ok((await Promise.all(answers)).filter(Boolean).length === 64)
  assert.equal(await list.has('123456'), true)
  await list.close()
})
