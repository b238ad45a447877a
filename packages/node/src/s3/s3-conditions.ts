/** Conditional requests (RFC 9110 section 13), and ranges (section 14), as S3 has them. Pure. */
import type { ObjectVersion } from '@ringwall/ring'
import { S3Error } from './s3-error.ts'

type Header = (name: string) => string | undefined

const matches = (list: string, etag: string): boolean =>
  list.split(',').some((one) => one.trim() === '*' || one.trim().replace(/^(W\/)?"?|"$/g, '') === etag)
const seconds = (ms: number): number => Math.floor(ms / 1_000)

/** @param prefix Of the headers: empty, or `x-amz-copy-source-`. @throws {S3Error} PreconditionFailed, NotModified */
export function checkConditions(header: Header, { etag, atMs }: ObjectVersion, prefix = ''): void {
  const match = header(`${prefix}if-match`)
  const noneMatch = header(`${prefix}if-none-match`)
  const modified = Date.parse(header(`${prefix}if-modified-since`) ?? '')
  const unmodified = Date.parse(header(`${prefix}if-unmodified-since`) ?? '')
  const failed = (what: string): S3Error => new S3Error('PreconditionFailed', `${prefix}${what} does not hold`)
  if (match !== undefined ? !matches(match, etag) : seconds(atMs) > seconds(unmodified))
    throw failed(match !== undefined ? 'if-match' : 'if-unmodified-since')
  const isSame = noneMatch !== undefined ? matches(noneMatch, etag) : seconds(atMs) <= seconds(modified)
  if (isSame) throw prefix === '' ? new S3Error('NotModified', 'it is as it was') : failed('if-none-match or if-modified-since')
}

/**
 * Whether a deletion says what it expects to delete. @param version What it would; undefined: nothing is there.
 * @throws {S3Error} PreconditionFailed, when something else is there
 */
export function checkRemoval(header: Header, version: ObjectVersion | undefined): boolean {
  const untaken = ['if-none-match', 'if-modified-since', 'x-amz-if-match-last-modified-time', 'x-amz-if-match-size']
  const asked = untaken.find((name) => header(name) !== undefined)
  if (asked !== undefined) throw new S3Error('NotImplemented', `${asked} of a deletion is not taken`)
  if (header('if-match') === undefined && header('if-unmodified-since') === undefined) return false
  if (version === undefined || version.marker) throw new S3Error('PreconditionFailed', 'there is no such object')
  checkConditions(header, version)
  return true
}

/** What a put expects: as `ObjectAct.expect`. @throws {S3Error} */
export function expectOf(header: Header): string {
  const [match, noneMatch] = [header('if-match'), header('if-none-match')]
  if (match !== undefined && noneMatch !== undefined)
    throw new S3Error('InvalidRequest', 'if-match and if-none-match exclude each other')
  if (noneMatch !== undefined) {
    if (noneMatch.trim() === '*') return '-'
    throw new S3Error('NotImplemented', 'if-none-match of a put must be *')
  }
  if (match === undefined) return ''
  const etag = match.trim().replace(/^"|"$/g, '')
  if (/^[0-9a-f]{32}(-[1-9][0-9]{0,4})?$/.test(etag)) return etag
  throw new S3Error('PreconditionFailed', 'if-match names no etag of ours')
}

/** One range, as start and end without; undefined: the whole. What is no range of bytes is left out of account. @throws {S3Error} InvalidRange */
export function rangeOf(text: string | undefined, size: number): readonly [start: number, end: number] | undefined {
  const found = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(text?.trim() ?? '')
  if (found === null || (found[1] === '' && found[2] === '')) return undefined
  const [first, last] = [found[1], found[2]]
  if (first === '') {
    const count = Number(last)
    if (count === 0 || size === 0) throw new S3Error('InvalidRange', 'there are no such bytes')
    return [Math.max(0, size - count), size]
  }
  const start = Number(first)
  const end = last === '' ? size : Math.min(size, Number(last) + 1)
  if (last !== '' && Number(last) < start) return undefined
  if (start >= size) throw new S3Error('InvalidRange', `the object has ${size} bytes`)
  return [start, end]
}

/** The range of an object that a part is copied from: first and last byte, both there. @throws {S3Error} InvalidArgument, InvalidRange */
export function copyRangeOf(text: string | undefined, size: number): readonly [start: number, end: number] | undefined {
  if (text === undefined) return undefined
  const found = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(text.trim())
  const [first, last] = [Number(found?.[1]), Number(found?.[2])]
  if (found === null || first > last) throw new S3Error('InvalidArgument', 'x-amz-copy-source-range must be bytes=FIRST-LAST')
  if (last >= size) throw new S3Error('InvalidRange', `the object has ${size} bytes`)
  return [first, last + 1]
}
