/** STIX objects as a collection takes them in (STIX 2.1, sections 2.9, 3.2 and 3.6): what the collection itself needs is checked, the rest is kept as it came. */
import { IndicatorFileInvalid, readStixObject } from '@ringwall/detect'
import { formatMoment, parseMoment } from './protocol.ts'
import type { ShelfEntry } from './shelf.ts'

const OBJECT_CHARS_MAX = 65_536
const TYPE = /^[a-z][a-z0-9-]{2,249}$/
/** In capitals too: OASIS's own examples have such. */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** One version of one object that cannot be taken, with why. */
export class StixInvalid extends Error {
  override readonly name = 'StixInvalid'
  readonly code = 'STIX_INVALID'
}

const text = (object: object, name: string): string | undefined => {
  const value: unknown = Object.hasOwn(object, name) ? (object as Readonly<Record<string, unknown>>)[name] : undefined
  if (value === undefined || typeof value === 'string') return value
  throw new StixInvalid(`/${name}: expected text`)
}

/** @param added Microseconds. @throws {StixInvalid} With a JSON pointer into the object. */
export function entryOf(value: unknown, added: number): ShelfEntry {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new StixInvalid('expected an object')
  const [type, id, modified, created] = ['type', 'id', 'modified', 'created'].map((name) => text(value, name))
  if (type === undefined || !TYPE.test(type)) throw new StixInvalid('/type: expected a type of object, such as indicator')
  if (id === undefined || !id.startsWith(`${type}--`) || !UUID.test(id.slice(type.length + 2)))
    throw new StixInvalid(`/id: expected ${type}-- and a UUID`)
  const moment = (name: string, said: string | undefined): number | undefined => {
    const micros = said === undefined ? undefined : parseMoment(said)
    if (said !== undefined && micros === undefined)
      throw new StixInvalid(`/${name}: expected a time such as 2027-01-31T12:00:00.000Z`)
    return micros
  }
  const [changed, made] = [moment('modified', modified), moment('created', created)]
  const specVersion = text(value, 'spec_version') ?? '2.0'
  if (specVersion !== '2.0' && specVersion !== '2.1') throw new StixInvalid('/spec_version: expected 2.1 or 2.0')
  const json = JSON.stringify(value)
  if (json.length > OBJECT_CHARS_MAX) throw new StixInvalid(`expected at most ${OBJECT_CHARS_MAX} characters`)
  if (type === 'indicator') checkIndicator(value)
  return {
    id,
    type,
    specVersion,
    version: changed ?? made ?? added,
    versionText: modified ?? created ?? formatMoment(added),
    added,
    text: json,
  }
}

/** Can it be loaded? Then nothing that somebody posts keeps the rest from being loaded. */
function checkIndicator(value: unknown): void {
  try {
    const nothing = { add: () => {}, leaveOut: () => {} }
    readStixObject(value, '', { confidence: 50, ttlMs: 0, nowMs: 0, readPrefix: () => undefined }, nothing)
  } catch (cause) {
    if (cause instanceof IndicatorFileInvalid) throw new StixInvalid(cause.message, { cause })
    throw cause
  }
}
