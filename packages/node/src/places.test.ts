import assert from 'node:assert/strict'
import { mkdtempSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { PlaceFiles } from './places.ts'
import { mmdb } from './test-mmdb.ts'

const folder = mkdtempSync(join(tmpdir(), 'ringwall-places-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const COUNTRIES = mmdb('Test-Country', [
  ['203.0.113.0/24', { country: { iso_code: 'SE' } }],
  ['203.0.113.128/25', { country_code: 'no' }],
  ['198.51.100.0/24', { registered_country: { iso_code: 'DK' } }],
  ['2001:db8::/32', { country: 'FI', asn: 'AS64511' }],
])
const SYSTEMS = mmdb('Test-ASN', [
  ['203.0.113.0/24', { autonomous_system_number: 64_500, autonomous_system_organization: 'Example' }],
  ['192.0.2.0/24', { autonomous_system_number: 4_200_000_000 }],
])

function files(name: string, ...contents: readonly Buffer[]): string[] {
  return contents.map((bytes, at) => {
    const file = join(folder, `${name}-${at}.mmdb`)
    writeFileSync(file, bytes)
    return file
  })
}

async function opened(given: readonly string[]): Promise<{ readonly places: PlaceFiles; readonly lines: string[] }> {
  const lines: string[] = []
  const places = await PlaceFiles.open(given, (level, line) => lines.push(`${level} ${line}`))
  after(() => places.stop())
  return { places, lines }
}

test('country and autonomous system, each of the file that knows it; unknown is ZZ and 0', async () => {
  const { places } = await opened(files('both', COUNTRIES, SYSTEMS))
  const found = (address: string): string => `${places.of(address).country} ${places.of(address).asn}`
  assert.equal(found('203.0.113.7'), 'SE 64500')
  assert.equal(found('203.0.113.200'), 'NO 64500')
  assert.equal(found('198.51.100.1'), 'DK 0')
  assert.equal(found('192.0.2.1'), 'ZZ 4200000000')
  assert.equal(found('2001:db8::1'), 'FI 64511')
  assert.equal(found('2001:DB8:0::1'), 'FI 64511')
  assert.equal(found('::ffff:203.0.113.7'), 'SE 64500', 'IPv4 within IPv6')
  for (const nowhere of ['8.8.8.8', '2001:db9::1', '', 'unix', '1.2.3', 'fe80::1%eth0'])
    assert.equal(found(nowhere), 'ZZ 0', nowhere)
})

test('where an address is, to a tenth of a degree, with how wrong that is; what is no place on the globe is none', async () => {
  const cities = mmdb('Test-City', [
    ['203.0.113.0/24', { location: { latitude: 59.329_4, longitude: 18.068_7, accuracy_radius: 20 } }],
    ['198.51.100.0/24', { latitude: -33.868, longitude: 151.207 }],
    ['192.0.2.0/24', { location: { latitude: 99.5, longitude: 18 } }],
  ])
  const { places } = await opened(files('cities', cities, SYSTEMS))
  assert.deepEqual(places.locationOf('203.0.113.7'), { latitude: 59.3, longitude: 18.1, radiusKm: 30, asn: 64_500 })
  assert.deepEqual(places.locationOf('198.51.100.7'), { latitude: -33.9, longitude: 151.2, radiusKm: 210, asn: 0 })
  for (const nowhere of ['192.0.2.1', '8.8.8.8', 'unix']) assert.equal(places.locationOf(nowhere), undefined, nowhere)
})

test('a file that is replaced is taken up; a broken or missing one is refused, said once, and the old stays', async () => {
  const [file] = files('live', COUNTRIES) as [string]
  const { places, lines } = await opened([file])
  assert.equal(places.of('203.0.113.7').country, 'SE')
  const replace = async (bytes: Buffer): Promise<void> => {
    writeFileSync(`${file}.new`, bytes)
    renameSync(`${file}.new`, file)
    await places.look()
    await places.look()
  }
  await replace(mmdb('Test', [['203.0.113.0/24', { country_code: 'IS' }]]))
  assert.equal(places.of('203.0.113.7').country, 'IS')
  assert.match(lines[0]!, /^info places: .* is taken up, as of 2023-11-14$/)
  await replace(Buffer.from('not a database'))
  await replace(COUNTRIES.subarray(0, 100))
  assert.equal(places.of('203.0.113.7').country, 'IS')
  unlinkSync(file)
  await places.look()
  await places.look()
  assert.equal(places.of('203.0.113.7').country, 'IS')
  assert.equal(lines.length, 4, lines.join('\n'))
  assert.match(lines[1]!, /^warn .* is not taken up: is no MMDB file: .*; what was read before stays$/)
  writeFileSync(file, COUNTRIES)
  await places.look()
  assert.equal(places.of('203.0.113.7').country, 'SE')
})

test('what is no such file is refused at the start, with its name and what was expected', async () => {
  const refused = async (name: string, bytes: Buffer, why: RegExp): Promise<void> => {
    await assert.rejects(opened(files(name, bytes)), (error: Error) => {
      assert.match(error.message, /^places: .*\.mmdb: /)
      assert.match(error.message, why)
      return true
    })
  }
  await refused('text', Buffer.from('hello'), /is no MMDB file/)
  await refused('empty', Buffer.alloc(0), /is no MMDB file/)
  await refused(
    'cities',
    mmdb('Test-City', [['8.0.0.0/8', { city: { name: 'x' } }]]),
    /knows city, and neither country, location nor/,
  )
  await assert.rejects(opened([join(folder, 'missing.mmdb')]), /missing\.mmdb: ENOENT/)
})

test('property: a damaged file is refused, or says what it says, and never throws', async () => {
  const [file] = files('damaged', COUNTRIES) as [string]
  await fc.assert(
    fc.asyncProperty(fc.nat(COUNTRIES.length - 1), fc.nat(255), fc.ipV4(), async (at, byte, address) => {
      const bytes = Buffer.from(COUNTRIES)
      bytes[at] = byte
      writeFileSync(file, bytes)
      const places = await PlaceFiles.open([file], () => {}).catch((error: { code?: unknown }) => {
        assert.equal(error.code, 'CONFIG_INVALID')
        return undefined
      })
      for (const asked of [address, '203.0.113.7', '2001:db8::1']) {
        const place = places?.of(asked)
        if (place !== undefined) assert.match(`${place.country} ${place.asn}`, /^[A-Z]{2} \d{1,10}$/)
      }
      places?.stop()
    }),
    { numRuns: 300 },
  )
})

test('property: any prefixes that are written are found again', async () => {
  const prefix = fc.tuple(fc.nat(0xffffffff), fc.integer({ min: 1, max: 32 })).map(([word, length]) => {
    const masked = length === 0 ? 0 : (word & (0xffffffff << (32 - length))) >>> 0
    return { text: `${[24, 16, 8, 0].map((by) => (masked >>> by) & 255).join('.')}/${length}`, first: masked, length }
  })
  const written = fc.uniqueArray(prefix, { minLength: 1, maxLength: 20, selector: ({ text }) => text })
  await fc.assert(
    fc.asyncProperty(written, fc.nat(0xffffffff), async (prefixes, other) => {
      const [file] = files(
        'any',
        mmdb(
          'Test',
          prefixes.map(({ text }, at) => [text, { autonomous_system_number: at + 1 }]),
        ),
      ) as [string]
      const places = await PlaceFiles.open([file], () => {})
      for (const address of [...prefixes.map(({ first }) => first), other]) {
        const within = prefixes
          .map(({ first, length }, at) => ({
            asn: at + 1,
            length,
            holds: (address ^ first) >>> (32 - length) === 0 || address === first,
          }))
          .filter(({ holds }) => holds)
          .sort((a, b) => b.length - a.length)
        const text = [24, 16, 8, 0].map((by) => (address >>> by) & 255).join('.')
        assert.equal(places.of(text).asn, within[0]?.asn ?? 0, text)
      }
      places.stop()
    }),
    { numRuns: 100 },
  )
})
