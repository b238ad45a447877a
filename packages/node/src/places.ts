/**
 * Where addresses are, by MMDB files that the operator supplies (GeoLite2, DB-IP, IPinfo, ip-location-db and their like): country, autonomous
 * system, or both, each of whichever file knows it first. A file that is replaced is taken up within seconds; one that cannot be read is
 * refused, and what was read before it stays.
 */
import { readFile, stat } from 'node:fs/promises'
import { RADIUS_KM_USUAL, type SignalPlace } from '@ringwall/detect'
import { NOWHERE, type Place, type Places } from '@ringwall/guard'
import { formatAddress, NO_ASN, NO_COUNTRY, parseAddress } from '@ringwall/ring'
import { Reader } from 'mmdb-lib'
import type { NodeConfig } from './config.ts'
import { StartError } from './errors.ts'

const LOOK_MS = 2_000
const FILE_BYTES_MAX = 536_870_912
/** Addresses remembered: those who ask ask again. */
const KNOWN_MAX = 16_384
/** Of a new file: it must find something, and nothing but what it says it holds. */
const PROBES = [
  '8.8.8.8',
  '1.1.1.1',
  '192.0.2.1',
  '0.0.0.0',
  '127.0.0.1',
  '223.255.255.255',
  '2001:4860:4860::8888',
  '::1',
  'fe80::1',
]
const ASN_MAX = 4_294_967_295

interface Slot {
  readonly file: string
  reader: Reader<never>
  /** Of the file as it was last looked at. */
  stamp: string
}

type Log = (level: 'info' | 'warn', line: string) => void

export class PlaceFiles implements Places {
  readonly #slots: readonly Slot[]
  readonly #log: Log
  readonly #known = new Map<string, Place>()
  readonly #timer: NodeJS.Timeout
  #looking = false

  private constructor(slots: readonly Slot[], log: Log) {
    this.#slots = slots
    this.#log = log
    this.#timer = setInterval(() => void this.look(), LOOK_MS)
    this.#timer.unref()
  }

  /** @throws {StartError} `CONFIG_INVALID`, naming the file and what is wrong with it. */
  static async open(files: readonly string[], log: Log): Promise<PlaceFiles> {
    const slots = await Promise.all(
      files.map(async (file) => {
        try {
          const stamp = await stampOf(file)
          return { file, reader: await readerOf(file), stamp }
        } catch (cause) {
          throw new StartError('CONFIG_INVALID', `places: ${file}: ${(cause as Error).message}`, { cause })
        }
      }),
    )
    return new PlaceFiles(slots, log)
  }

  of(address: string): Place {
    const known = this.#known.get(address)
    if (known !== undefined) return known
    const place = this.#find(address)
    if (this.#known.size >= KNOWN_MAX) this.#known.clear()
    this.#known.set(address, place)
    return place
  }

  /** Where an address is on the globe; undefined: no file says. */
  locationOf(text: string): SignalPlace | undefined {
    const address = parseAddress(text.split('%', 1)[0]!)
    if (address === undefined) return undefined
    const plain = formatAddress(address)
    for (const { reader } of this.#slots) {
      const location = locationIn(recordOf(reader, plain))
      if (location !== undefined) return { ...location, asn: this.of(text).asn }
    }
    return undefined
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** Takes up what has changed. */
  async look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    for (const slot of this.#slots) {
      try {
        const stamp = await stampOf(slot.file)
        if (stamp === slot.stamp) continue
        // Whatever it is: looked at once, until it changes again.
        slot.stamp = stamp
        slot.reader = await readerOf(slot.file)
        this.#known.clear()
        this.#log('info', `places: ${slot.file} is taken up, as of ${slot.reader.metadata.buildEpoch.toISOString().slice(0, 10)}`)
      } catch (error) {
        const stamp = `refused: ${(error as Error).message}`
        if (slot.stamp !== stamp)
          this.#log('warn', `places: ${slot.file} is not taken up: ${(error as Error).message}; what was read before stays`)
        if ((error as NodeJS.ErrnoException).code !== undefined) slot.stamp = stamp
      }
    }
    this.#looking = false
  }

  #find(text: string): Place {
    const address = parseAddress(text.split('%', 1)[0]!)
    if (address === undefined) return NOWHERE
    // An IPv4 address in an IPv6 one is looked for as itself.
    const plain = formatAddress(address)
    let [country, asn] = [NO_COUNTRY as string, NO_ASN as number]
    for (const { reader } of this.#slots) {
      const found = recordOf(reader, plain)
      if (country === NO_COUNTRY) country = countryOf(found) ?? country
      if (asn === NO_ASN) asn = asnOf(found) ?? asn
    }
    return country === NO_COUNTRY && asn === NO_ASN ? NOWHERE : { country, asn }
  }
}

/** As the node's configuration says. @throws {StartError} */
export async function openPlaces({ places }: Pick<NodeConfig, 'places'>, log: Log): Promise<PlaceFiles | undefined> {
  return places === undefined || places.length === 0 ? undefined : PlaceFiles.open(places, log)
}

async function stampOf(file: string): Promise<string> {
  const { mtimeMs, size, ino } = await stat(file)
  if (size > FILE_BYTES_MAX) throw new Error(`has ${size} bytes, at most ${FILE_BYTES_MAX} are read`)
  return `${mtimeMs} ${size} ${ino}`
}

async function readerOf(file: string): Promise<Reader<never>> {
  const bytes = await readFile(file)
  let reader: Reader<never>
  try {
    reader = new Reader<never>(bytes)
  } catch {
    throw new Error('is no MMDB file: expected one such as GeoLite2-Country.mmdb, unpacked')
  }
  const { binaryFormatMajorVersion, buildEpoch, searchTreeSize, ipVersion } = reader.metadata
  if (
    Number.isNaN(buildEpoch.getTime()) ||
    binaryFormatMajorVersion !== 2 ||
    (ipVersion !== 4 && ipVersion !== 6) ||
    !(searchTreeSize + 16 < bytes.length)
  )
    throw new Error('is cut short, or of a version that is not known')
  let fields = new Set<string>()
  try {
    for (const probe of PROBES) {
      if (ipVersion === 4 && probe.includes(':')) continue
      const record: unknown = reader.get(probe)
      if (typeof record === 'object' && record !== null) fields = new Set([...fields, ...Object.keys(record)])
    }
  } catch {
    throw new Error('is damaged: some of its records cannot be read')
  }
  if (fields.size > 0 && !FIELDS.some((field) => fields.has(field)))
    throw new Error(`knows ${[...fields].slice(0, 5).join(', ')}, and neither country, location nor autonomous system`)
  return reader
}

const FIELDS = ['country', 'registered_country', 'country_code', 'autonomous_system_number', 'asn', 'location', 'latitude']

/** Undefined also where the file is damaged: it says nothing of the address then. */
function recordOf(reader: Reader<never>, address: string): Readonly<Record<string, unknown>> | undefined {
  try {
    if (reader.metadata.ipVersion === 4 && address.includes(':')) return undefined
    const record: unknown = reader.get(address)
    return typeof record === 'object' && record !== null ? (record as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function countryOf(record: Readonly<Record<string, unknown>> | undefined): string | undefined {
  if (record === undefined) return undefined
  for (const value of [record.country, record.country_code, record.registered_country]) {
    const code = typeof value === 'object' && value !== null ? (value as { iso_code?: unknown }).iso_code : value
    if (typeof code === 'string' && /^[A-Za-z]{2}$/.test(code)) return code.toUpperCase()
  }
  return undefined
}

/** To a tenth of a degree: nobody needs to know the street. */
function locationIn(record: Readonly<Record<string, unknown>> | undefined): Omit<SignalPlace, 'asn'> | undefined {
  const held = typeof record?.location === 'object' && record.location !== null ? record.location : record
  const { latitude, longitude, accuracy_radius: radius } = (held ?? {}) as Readonly<Record<string, unknown>>
  if (typeof latitude !== 'number' || typeof longitude !== 'number') return undefined
  if (!(Math.abs(latitude) <= 90) || !(Math.abs(longitude) <= 180)) return undefined
  const known = typeof radius === 'number' && radius > 0 && radius <= 20_000 ? radius : RADIUS_KM_USUAL
  return { latitude: Math.round(latitude * 10) / 10, longitude: Math.round(longitude * 10) / 10, radiusKm: known + 10 }
}

function asnOf(record: Readonly<Record<string, unknown>> | undefined): number | undefined {
  const value = record?.autonomous_system_number ?? record?.asn
  const asn = typeof value === 'string' && /^(AS)?[0-9]{1,10}$/i.test(value) ? Number(value.replace(/^AS/i, '')) : value
  return typeof asn === 'number' && Number.isInteger(asn) && asn > 0 && asn <= ASN_MAX ? asn : undefined
}
