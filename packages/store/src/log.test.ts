import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { StoreCorrupt, StoreError } from './errors.ts'
import { openLog, type RecordLog } from './log.ts'
import { firstRecord, inspectLog } from './log-scan.ts'
import { HEADER, RECORD_HEADER_BYTES } from './record.ts'

let root = ''
let count = 0
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'ringwall-log-'))
})
after(() => rm(root, { recursive: true }))

const freshPath = () => join(root, `d${count++}`, 'x.log')
const text = (value: string) => new TextEncoder().encode(value)

async function contents(log: RecordLog): Promise<string[]> {
  const all: string[] = []
  for await (const record of log.records()) all.push(new TextDecoder().decode(record))
  return all
}

async function written(path: string, records: readonly string[]): Promise<Buffer> {
  const log = await openLog(path)
  await log.append(records.map(text))
  await log.close()
  return readFile(path)
}

test('records survive closing, in order, and an empty record is a record', async () => {
  const path = freshPath()
  await written(path, ['one', '', 'three'])
  const log = await openLog(path)
  assert.equal(log.finding, undefined)
  assert.equal(log.length, 3)
  assert.deepEqual(await contents(log), ['one', '', 'three'])
  assert.deepEqual(await log.read(2), Buffer.from('three'))
  await assert.rejects(log.read(3), RangeError)
  await log.close()
})

test('the file and its directory are readable by their owner alone', { skip: process.platform === 'win32' }, async () => {
  const path = freshPath()
  await written(path, ['secret'])
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.equal((await stat(join(path, '..'))).mode & 0o777, 0o700)
})

test('many appends at once keep their order and each is on disk when it resolves', async () => {
  const path = freshPath()
  const log = await openLog(path)
  await Promise.all(
    Array.from({ length: 200 }, async (_, i) => {
      await log.append([text(`${i}`)])
      assert.ok(log.length > i)
    }),
  )
  assert.deepEqual(
    await contents(log),
    Array.from({ length: 200 }, (_, i) => `${i}`),
  )
  await log.close()
})

test('what is appended in one turn is on disk at one moment', async () => {
  const log = await openLog(freshPath())
  const first = log.append([text('block')])
  const second = log.append([text('vote')])
  await first
  assert.equal(log.length, 2)
  await second
  await log.close()
})

test('the file is written through to the disk, whatever took its place', { skip: process.platform !== 'linux' }, async () => {
  const O_DSYNC = 0o10000
  const path = freshPath()
  const log = await openLog(path)
  const flags = async (): Promise<number[]> => {
    const found: number[] = []
    for (const fd of await readdir('/proc/self/fd')) {
      if ((await readlink(`/proc/self/fd/${fd}`).catch(() => '')) !== path) continue
      found.push(Number.parseInt(/^flags:\t(\d+)/m.exec(await readFile(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '0', 8))
    }
    return found
  }
  const assertSynced = async () =>
    assert.deepEqual(
      (await flags()).map((held) => held & O_DSYNC),
      [O_DSYNC],
    )
  await assertSynced()
  await log.append(['a', 'b', 'c'].map(text))
  await log.dropFirst(1)
  await assertSynced()
  await log.replaceWith([text('d')])
  await assertSynced()
  await log.close()
})

test('property: a file cut at any byte loses only the records that the cut touches, and says that its tail was torn', async () => {
  const records = ['first', 'second record', '', 'the last one']
  const path = freshPath()
  const whole = await written(path, records)
  const ends: number[] = [HEADER.length]
  for (const record of records) ends.push(ends.at(-1)! + RECORD_HEADER_BYTES + record.length)
  assert.equal(ends.at(-1), whole.length)
  for (let cut = HEADER.length; cut <= whole.length; cut++) {
    await writeFile(path, whole.subarray(0, cut))
    const log = await openLog(path)
    const kept = ends.filter((end) => end <= cut).length - 1
    assert.deepEqual(await contents(log), records.slice(0, kept), `cut at ${cut}`)
    assert.equal(log.finding?.kind, ends.includes(cut) ? undefined : 'torn', `cut at ${cut}`)
    await log.append([text('after')])
    await log.close()
    const again = await openLog(path)
    assert.equal(again.finding, undefined)
    assert.deepEqual(await contents(again), [...records.slice(0, kept), 'after'])
    await again.close()
  }
  assert.deepEqual(await readdir(join(path, '..')), ['x.log'])
})

test('a tail that a file system filled with zeros is torn, not corrupt', async () => {
  const path = freshPath()
  const whole = await written(path, ['kept'])
  await writeFile(path, Buffer.concat([whole, Buffer.alloc(5000)]))
  const log = await openLog(path)
  assert.deepEqual(log.finding, { kind: 'torn', path, index: 1, offset: whole.length, bytesCut: 5000 })
  assert.deepEqual(await contents(log), ['kept'])
  await log.close()
})

test('property: any one flipped bit is found, the records before it stay, and the file as found is kept aside', async () => {
  const records = ['alpha', 'beta', 'gamma', 'delta']
  const path = freshPath()
  const whole = await written(path, records)
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length * 8 - 1), async (bit) => {
      const bad = Buffer.from(whole)
      bad[bit >> 3]! ^= 1 << (bit & 7)
      // A flipped bit can turn the format number into another format's: that is refused, not repaired.
      if (/^ringwall-log \d\d\n/.test(bad.toString('latin1')) && bit >> 3 < HEADER.length) return
      await writeFile(path, bad)
      const log = await openLog(path)
      const { finding } = log
      assert.ok(finding?.kind === 'corrupt', `bit ${bit}`)
      assert.ok(finding.offset <= bit >> 3)
      assert.deepEqual(await readFile(finding.aside), bad)
      assert.deepEqual(await contents(log), records.slice(0, finding.index))
      assert.equal(finding.bytesLost, whole.length - finding.offset)
      await log.append([text('more')])
      await log.close()
      const again = await openLog(path)
      assert.equal(again.finding, undefined)
      assert.deepEqual(await contents(again), [...records.slice(0, finding.index), 'more'])
      await again.close()
      await rm(finding.aside)
    }),
    { numRuns: 120 },
  )
})

test('a record in the place of another is corruption, though each is whole', async () => {
  const path = freshPath()
  const whole = await written(path, ['aaaa', 'bbbb'])
  const size = RECORD_HEADER_BYTES + 4
  const swapped = Buffer.concat([whole.subarray(0, 16), whole.subarray(16 + size), whole.subarray(16, 16 + size)])
  await writeFile(path, swapped)
  const log = await openLog(path)
  assert.equal(log.finding?.kind, 'corrupt')
  assert.equal(log.length, 0)
  await log.close()
})

test('a caller that cannot repair leaves a corrupt file as it is and learns the file, the record and the byte', async () => {
  const path = freshPath()
  const bad = await written(path, ['one', 'two'])
  bad[HEADER.length + RECORD_HEADER_BYTES + 3 + 10]! ^= 1
  await writeFile(path, bad)
  await assert.rejects(openLog(path, { onCorrupt: 'throw' }), (error) => {
    assert.ok(error instanceof StoreCorrupt)
    assert.equal(error.path, path)
    assert.equal(error.index, 1)
    assert.equal(error.offset, HEADER.length + RECORD_HEADER_BYTES + 3)
    return true
  })
  assert.deepEqual(await readFile(path), bad)
})

test('a file of a later format is refused and left alone', async () => {
  const path = freshPath()
  const bytes = await written(path, ['one'])
  bytes[14] = 0x33
  await writeFile(path, bytes)
  await assert.rejects(openLog(path), { code: 'STORE_FORMAT' })
  assert.deepEqual(await readFile(path), bytes)
})

test('a record that rots while the log is open is found when it is read', async () => {
  const path = freshPath()
  const log = await openLog(path)
  await log.append([text('good'), text('soon bad')])
  const bytes = await readFile(path)
  bytes[bytes.length - 1]! ^= 1
  await writeFile(path, bytes)
  assert.deepEqual(await log.read(0), Buffer.from('good'))
  await assert.rejects(log.read(1), StoreCorrupt)
  await log.close()
})

test('a log opened from a later record reads no payload before it, finds each record, and checks an older one when it is read', async () => {
  for (const size of [3, 40_000]) {
    const path = freshPath()
    const records = Array.from({ length: 60 }, (_, i) => `${i}`.padEnd(size, 'x'))
    const bytes = await written(path, records)
    // Rot in the payload of record 1.
    bytes[HEADER.length + 2 * RECORD_HEADER_BYTES + size + 1]! ^= 1
    await writeFile(path, bytes)
    const met: number[] = []
    const log = await openLog(path, { from: 50, onCorrupt: 'throw', onRecord: (_payload, index) => void met.push(index) })
    assert.deepEqual(
      met,
      Array.from({ length: 10 }, (_, i) => 50 + i),
    )
    assert.equal(log.length, 60)
    assert.equal((await log.read(49)).toString(), records[49])
    await assert.rejects(log.read(1), StoreCorrupt)
    await log.append([text('more')])
    assert.equal((await log.read(60)).toString(), 'more')
    await log.close()
    await assert.rejects(openLog(path, { from: 1, onCorrupt: 'throw' }), StoreCorrupt)
    assert.equal((await inspectLog(path, () => {})).fault?.index, 1)
  }
})

test('property: whatever part of a log is skipped, a file cut at any byte ends where it ends when all is read', async () => {
  const path = freshPath()
  const whole = await written(path, ['first', 'second record', '', 'x'.repeat(20_000), 'the last one'])
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: HEADER.length, max: whole.length }), fc.integer({ min: 0, max: 7 }), async (cut, from) => {
      await writeFile(path, whole.subarray(0, cut))
      const { length } = await inspectLog(path, () => {})
      const log = await openLog(path, { from, onCorrupt: 'throw' })
      assert.equal(log.length, length)
      await log.close()
    }),
  )
})

test('property: a run of records is what single reads give, within its bounds; one that rotted is refused', async () => {
  const path = freshPath()
  const records = Array.from({ length: 40 }, (_, i) => `${i}`.padEnd(1 + ((i * 37) % 90), 'y'))
  await written(path, records)
  const log = await openLog(path)
  await fc.assert(
    fc.asyncProperty(fc.nat(45), fc.nat(45), fc.nat(1_000), async (index, count, bytesMax) => {
      const run = await log.readRun(index, count, bytesMax)
      assert.deepEqual(
        run.map((payload) => new TextDecoder().decode(payload)),
        records.slice(index, index + run.length),
      )
      const size = (until: number) =>
        records.slice(index, until).reduce((sum, { length }) => sum + RECORD_HEADER_BYTES + length, 0)
      assert.ok(run.length <= count && (run.length <= 1 || size(index + run.length) <= bytesMax))
      const isMore = run.length < count && index + run.length < records.length
      if (isMore) assert.ok(size(index + run.length + 1) > bytesMax)
    }),
  )
  await log.append([text('late')])
  assert.deepEqual(
    (await log.readRun(39, 5, 1_000)).map(String),
    [Buffer.from(records[39] ?? ''), Buffer.from('late')].map(String),
  )
  const bytes = await readFile(path)
  bytes[bytes.length - 1]! ^= 1
  await writeFile(path, bytes)
  await assert.rejects(log.readRun(38, 5, 1_000), StoreCorrupt)
  await log.close()
})

test('the first record is had by itself, and a file that is missing, empty or rotten there has none', async () => {
  const path = freshPath()
  assert.equal(await firstRecord(path), undefined)
  const bytes = await written(path, ['one', 'two'])
  assert.deepEqual(await firstRecord(path), Buffer.from('one'))
  bytes[HEADER.length + RECORD_HEADER_BYTES]! ^= 1
  await writeFile(path, bytes)
  assert.equal(await firstRecord(path), undefined)
  for (const length of [0, 3, HEADER.length, HEADER.length + 39, HEADER.length + RECORD_HEADER_BYTES + 2]) {
    await writeFile(path, bytes.subarray(0, length))
    assert.equal(await firstRecord(path), undefined, `${length} bytes`)
  }
})

test('a record too large and a disk that does not keep up are refused before anything is written', async () => {
  const path = freshPath()
  const log = await openLog(path, { recordBytesMax: 10, pendingBytesMax: 120 })
  await assert.rejects(log.append([text('12345678901')]), { code: 'STORE_TOO_LARGE' })
  const first = log.append([text('1234567890'), text('1234567890')])
  await assert.rejects(log.append([text('1234567890')]), { code: 'STORE_BUSY' })
  await first
  await log.append([text('1234567890')])
  assert.equal(log.length, 3)
  await log.close()
  await assert.rejects(log.append([text('x')]), (error) => error instanceof StoreError && error.code === 'STORE_CLOSED')
})

test('replacing keeps what is appended after it, and drops what came before', async () => {
  const path = freshPath()
  const log = await openLog(path)
  const jobs = [
    log.append([text('old 1'), text('old 2')]),
    log.replaceWith([text('kept')]),
    log.append([text('new 1')]),
    log.append([text('new 2')]),
  ]
  await Promise.all(jobs)
  assert.deepEqual(await contents(log), ['kept', 'new 1', 'new 2'])
  await log.truncate(2)
  await log.append([text('new 3')])
  await log.close()
  const again = await openLog(path)
  assert.equal(again.finding, undefined)
  assert.deepEqual(await contents(again), ['kept', 'new 1', 'new 3'])
  await again.close()
})

test('the first records go while appends come in; the rest is whole after a restart', async () => {
  const path = freshPath()
  const log = await openLog(path)
  const names = Array.from({ length: 500 }, (_, i) => `record ${i}`)
  await log.append(names.map(text))
  const dropping = log.dropFirst(400)
  await assert.rejects(log.dropFirst(1), { code: 'STORE_BUSY' })
  const more = Array.from({ length: 50 }, (_, i) => `more ${i}`)
  for (const name of more) await log.append([text(name)])
  await dropping
  assert.equal(log.dropped, 400)
  await log.append([text('last')])
  const expected = [...names.slice(400), ...more, 'last']
  assert.deepEqual(await contents(log), expected)
  await assert.rejects(log.dropFirst(1_000), RangeError)
  await log.close()
  const again = await openLog(path)
  assert.equal(again.finding, undefined)
  assert.deepEqual(await contents(again), expected)
  assert.deepEqual(await readdir(join(path, '..')), ['x.log'])
  await again.close()
})

test('inspecting tells what is wrong and changes nothing', async () => {
  const path = freshPath()
  const whole = await written(path, ['one', 'two'])
  const seen: string[] = []
  const look = () => inspectLog(path, (payload) => seen.push(new TextDecoder().decode(payload)))
  assert.deepEqual(await look(), { length: 2, bytes: whole.length, fault: undefined })
  assert.deepEqual(seen, ['one', 'two'])
  await writeFile(path, whole.subarray(0, -1))
  assert.equal((await look()).fault?.kind, 'torn')
  whole[whole.length - 1]! ^= 1
  await writeFile(path, whole)
  assert.equal((await look()).fault?.kind, 'corrupt')
  assert.deepEqual(await readFile(path), whole)
})
