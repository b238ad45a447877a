import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { appendFile, copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import fc from 'fast-check'
import { DiskSeal } from './disk-seal.ts'
import { StoreCorrupt, StoreError } from './errors.ts'
import { openLog, type RecordLog } from './log.ts'
import { firstRecord, inspectLog } from './log-scan.ts'
import { SEALED_HEADER_BYTES } from './sealed-record.ts'

const OVERHEAD = 48
let root = ''
let count = 0
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'ringwall-sealed-log-'))
})
after(() => rm(root, { recursive: true }))

const secret = randomBytes(32)
const sealOf = (current: Uint8Array | undefined = secret, earlier: readonly Uint8Array[] = [], acceptsPlain = false): DiskSeal =>
  new DiskSeal({ root, current, earlier, acceptsPlain })
const seal = (): DiskSeal => sealOf()
const freshPath = () => join(root, `d${count++}`, 'x.log')
const text = (value: string) => new TextEncoder().encode(value)
const isCode = (code: string) => (error: unknown) => error instanceof StoreError && error.code === code

async function contents(log: RecordLog): Promise<string[]> {
  const all: string[] = []
  for await (const record of log.records()) all.push(Buffer.from(record).toString())
  return all
}

async function written(path: string, records: readonly string[], by = seal()): Promise<Buffer> {
  const log = await openLog(path, { seal: by })
  await log.append(records.map(text))
  await log.close()
  return readFile(path)
}

async function reads(path: string, by: DiskSeal = seal()): Promise<string[]> {
  const log = await openLog(path, { seal: by, onCorrupt: 'throw' })
  try {
    return await contents(log)
  } finally {
    await log.close()
  }
}

/** Where record i begins; the last is the end. */
function offsets(records: readonly string[]): number[] {
  const all = [SEALED_HEADER_BYTES]
  for (const record of records) all.push(all.at(-1)! + OVERHEAD + text(record).length)
  return all
}

test('property: whatever is appended, cut, dropped, replaced and reopened is read back, and none of it lies on the disk in the clear', async () => {
  const word = fc.string({ minLength: 12, maxLength: 40, unit: 'grapheme-ascii' })
  const step = fc.oneof(
    fc.record({ do: fc.constant('append' as const), words: fc.array(word, { maxLength: 6 }) }),
    fc.record({ do: fc.constant('replace' as const), words: fc.array(word, { maxLength: 4 }) }),
    fc.record({ do: fc.constantFrom('cut' as const, 'drop' as const), part: fc.double({ min: 0, max: 1, noNaN: true }) }),
    fc.record({ do: fc.constantFrom('reopen' as const, 'rekey' as const) }),
  )
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
      const path = freshPath()
      const by = seal()
      let log = await openLog(path, { seal: by })
      let model: string[] = []
      for (const one of steps) {
        if (one.do === 'append') {
          await log.append(one.words.map(text))
          model.push(...one.words)
        } else if (one.do === 'replace') {
          await log.replaceWith(one.words.map(text))
          model = [...one.words]
        } else if (one.do === 'cut') {
          const keep = Math.floor(one.part * model.length)
          await log.truncate(keep)
          model.length = keep
        } else if (one.do === 'drop') {
          const gone = Math.floor(one.part * model.length)
          await log.dropFirst(gone)
          model = model.slice(gone)
        } else if (one.do === 'rekey') {
          by.use(randomBytes(32))
          await log.reseal()
        } else {
          await log.close()
          log = await openLog(path, { seal: by, onCorrupt: 'throw' })
        }
        assert.deepEqual(await contents(log), model)
      }
      const at = Math.floor(model.length / 2)
      assert.deepEqual(
        (await log.readRun(at, 3, 60)).map((bytes) => Buffer.from(bytes).toString()),
        model.slice(at, at + (await log.readRun(at, 3, 60)).length),
      )
      await log.close()
      const bytes = await readFile(path)
      for (const word of model) assert.equal(bytes.includes(word), false)
    }),
    { numRuns: 20 },
  )
})

test('the disk in the clear holds what is written: the search above can fail', async () => {
  const path = freshPath()
  const log = await openLog(path)
  await log.append([text('canary-in-the-clear')])
  await log.close()
  assert.ok((await readFile(path)).includes('canary-in-the-clear'))
})

test('a tail torn at any byte is cut off, and every record before it is kept', async () => {
  const records = ['one', '', 'three']
  const path = freshPath()
  const whole = await written(path, records)
  const ends = offsets(records)
  for (let cut = SEALED_HEADER_BYTES; cut <= whole.length; cut++) {
    await writeFile(path, whole.subarray(0, cut))
    const log = await openLog(path, { seal: seal() })
    const kept = ends.filter((end) => end <= cut).length - 1
    assert.deepEqual(await contents(log), records.slice(0, kept))
    assert.equal(log.finding?.kind, ends.includes(cut) ? undefined : 'torn')
    await log.append([text('next')])
    await log.close()
    assert.deepEqual(await reads(path), [...records.slice(0, kept), 'next'])
  }
})

test('a flipped bit anywhere is told from a torn tail, or makes the file a shorter one: never another content', async () => {
  const records = ['one', 'two-two', 'three']
  const path = freshPath()
  const whole = await written(path, records)
  for (let bit = 0; bit < whole.length * 8; bit += 13) {
    const bad = Buffer.from(whole)
    bad[bit >> 3]! ^= 1 << (bit & 7)
    await writeFile(path, bad)
    try {
      assert.fail(`bit ${bit}: ${(await reads(path)).join()}`)
    } catch (error) {
      assert.ok(error instanceof StoreError, String(error))
      assert.match(error.code, /^STORE_(CORRUPT|FORMAT|SEALED|UNSEALED)$/)
    }
  }
})

test('records that are swapped, repeated, left out, of another file or of an older tail of the same file do not pass', async () => {
  const records = ['aaaa', 'bbbb', 'cccc', 'dddd']
  const path = freshPath()
  const whole = await written(path, records)
  const at = offsets(records)
  const record = (file: Buffer, i: number) => file.subarray(at[i], at[i + 1])
  const header = whole.subarray(0, SEALED_HEADER_BYTES)
  const other = await written(freshPath(), records)
  // The same file with its tail cut and written anew, of which an old copy is kept.
  const log = await openLog(path, { seal: seal() })
  await log.truncate(2)
  await log.append([text('CCCC'), text('DDDD')])
  await log.close()
  const anew = await readFile(path)
  const forged: Record<string, Buffer[]> = {
    swapped: [header, record(whole, 0), record(whole, 2), record(whole, 1), record(whole, 3)],
    repeated: [header, record(whole, 0), record(whole, 0)],
    'left out': [header, record(whole, 0), record(whole, 2)],
    'of another file': [header, record(whole, 0), record(other, 1)],
    'another file under this name': [other],
    'an old record in a new tail': [header, record(anew, 0), record(anew, 1), record(whole, 2), record(anew, 3)],
    'a new record in an old tail': [header, record(whole, 0), record(whole, 1), record(whole, 2), record(anew, 3)],
  }
  for (const [what, parts] of Object.entries(forged)) {
    await writeFile(path, Buffer.concat(parts))
    await assert.rejects(reads(path), StoreCorrupt, what)
  }
  await writeFile(path, anew)
  assert.deepEqual(await reads(path), ['aaaa', 'bbbb', 'CCCC', 'DDDD'])
})

test('no key and nonce seal two records: not after a cut, nor in two lives of one old copy', async () => {
  const path = freshPath()
  const image = await written(path, ['one', 'two'])
  const seen = new Set<string>()
  /** Session and counter of record `i`, with the ciphertext that they made. */
  const framesOf = async (): Promise<void> => {
    const bytes = await readFile(path)
    let end = SEALED_HEADER_BYTES
    while (end < bytes.length) {
      const length = bytes.readUInt32BE(end)
      seen.add(
        `${bytes.subarray(end + 8, end + 32).toString('hex')} ${bytes.subarray(end + 32, end + 48 + length).toString('hex')}`,
      )
      end += OVERHEAD + length
    }
  }
  for (let life = 0; life < 3; life += 1) {
    await writeFile(path, image)
    const log = await openLog(path, { seal: seal() })
    for (let round = 0; round < 4; round += 1) {
      await log.append([text(`life ${life}, round ${round}`)])
      await framesOf()
      await log.truncate(2)
    }
    await log.close()
  }
  const frames = [...seen].map((line) => line.slice(0, 48))
  assert.equal(frames.length, 2 + 3 * 4)
  assert.equal(new Set(frames).size, frames.length)
})

test('without its key, or under another name, a sealed log is neither read nor changed', async () => {
  const path = freshPath()
  const whole = await written(path, ['secret'])
  for (const [by, code] of [
    [undefined, 'STORE_SEALED'],
    [sealOf(randomBytes(32)), 'STORE_SEALED'],
  ] as const) {
    await assert.rejects(openLog(path, { seal: by }), isCode(code))
    await assert.rejects(
      inspectLog(path, () => {}, { seal: by }),
      isCode(code),
    )
    await assert.rejects(firstRecord(path, { seal: by }), isCode(code))
  }
  assert.deepEqual(await readFile(path), whole)
  const moved = join(path, '..', 'y.log')
  await copyFile(path, moved)
  await assert.rejects(reads(moved), StoreCorrupt)
})

test('a log in the clear is sealed in place when it is expected, and refused when it is not', async () => {
  const path = freshPath()
  const plain = await openLog(path)
  await plain.append(['first', 'second'].map(text))
  await plain.close()
  await assert.rejects(openLog(path, { seal: seal() }), isCode('STORE_UNSEALED'))
  const log = await openLog(path, { seal: sealOf(secret, [], true), from: 1 })
  assert.deepEqual(await contents(log), ['first', 'second'])
  await log.append([text('third')])
  await log.close()
  assert.deepEqual(await reads(path), ['first', 'second', 'third'])
  assert.equal((await readFile(path)).includes('first'), false)
  assert.deepEqual(await readdir(join(path, '..')), ['x.log'])
  // And back: whoever turns the sealing off.
  const open = await openLog(path, { seal: new DiskSeal({ root, current: undefined, earlier: [secret], acceptsPlain: true }) })
  await open.close()
  assert.ok((await readFile(path)).includes('first'))
})

test('the next key takes over in place: from then on the one before opens nothing', async () => {
  const path = freshPath()
  await written(path, ['first', 'second'])
  const next = randomBytes(32)
  assert.deepEqual(await reads(path, sealOf(next, [secret])), ['first', 'second'])
  await assert.rejects(reads(path, sealOf(secret)), isCode('STORE_SEALED'))
  assert.deepEqual(await reads(path, sealOf(next)), ['first', 'second'])
})

test('appends that come while the log is sealed anew are all there, in order', async () => {
  const path = freshPath()
  const by = seal()
  const log = await openLog(path, { seal: by })
  await log.append(Array.from({ length: 400 }, (_, i) => text(`record ${i}`)))
  by.use(randomBytes(32))
  const [resealed] = [log.reseal(), ...Array.from({ length: 50 }, (_, i) => log.append([text(`late ${i}`)]))]
  await resealed
  await log.append([text('last')])
  const all = await contents(log)
  assert.equal(all.length, 451)
  assert.deepEqual([all[0], all[399], all[400], all[449], all[450]], ['record 0', 'record 399', 'late 0', 'late 49', 'last'])
  await log.close()
  assert.equal((await reads(path, by)).length, 451)
})

test('a head that rotted keeps the file as it was found aside, and the log begins anew, sealed', async () => {
  const path = freshPath()
  const whole = await written(path, ['one'])
  whole[30]! ^= 1
  await writeFile(path, whole)
  const log = await openLog(path, { seal: seal() })
  assert.equal(log.finding?.kind, 'corrupt')
  await log.append([text('anew')])
  await log.close()
  assert.deepEqual(await reads(path), ['anew'])
  assert.deepEqual(await readFile(`${path}.corrupt-1`), whole)
})

test('a file that a crash grew with zeros is torn, not corrupt', async () => {
  const path = freshPath()
  await written(path, ['one'])
  await appendFile(path, Buffer.alloc(700))
  const log = await openLog(path, { seal: seal() })
  assert.equal(log.finding?.kind, 'torn')
  assert.deepEqual(await contents(log), ['one'])
  await log.close()
})

test('of the records before `from` the heads alone are looked at; they are checked when they are read', async () => {
  const path = freshPath()
  const whole = await written(path, ['one', 'two', 'three'])
  whole[SEALED_HEADER_BYTES + 34]! ^= 1
  await writeFile(path, whole)
  const met: string[] = []
  const log = await openLog(path, {
    seal: seal(),
    from: 1,
    onRecord: (payload) => void met.push(Buffer.from(payload).toString()),
  })
  assert.deepEqual(met, ['two', 'three'])
  await assert.rejects(log.read(0), StoreCorrupt)
  assert.deepEqual(Buffer.from(await log.read(1)).toString(), 'two')
  await log.close()
})
