/** Finds the account names in the body of a login request: a form, JSON, or multipart form. */
import type { HeaderField } from '@ringwall/waf'

/** Longest body read for it, bytes. */
export const LOGIN_BODY_BYTES_MAX = 16_384
const NAMES_MAX = 8
const NAME_CHARS_MAX = 512

/**
 * All values of the field, at most 8, in order: servers differ in which of several they take. Empty when the body has
 * none or cannot be read.
 */
export function loginNames(headers: readonly HeaderField[], body: Uint8Array, field: string): readonly string[] {
  const type = headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1].toLowerCase() ?? ''
  const text = new TextDecoder().decode(body.subarray(0, LOGIN_BODY_BYTES_MAX))
  const names = /\bjson\b/.test(type)
    ? fromJson(text, field)
    : type.startsWith('multipart/')
      ? fromMultipart(text, field)
      : fromForm(text, field)
  return names.map((name) => name.slice(0, NAME_CHARS_MAX)).filter((name) => name.trim() !== '')
}

function fromJson(text: string, field: string): readonly string[] {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, field)) return []
    const name = (value as Record<string, unknown>)[field]
    if (typeof name === 'string') return [name]
    if (Array.isArray(name)) return name.filter((item) => typeof item === 'string').slice(0, NAMES_MAX)
    return typeof name === 'number' ? [String(name)] : []
  } catch {
    return []
  }
}

function fromForm(text: string, field: string): readonly string[] {
  const names: string[] = []
  for (const [name, value] of new URLSearchParams(text)) {
    // `user[]` is how some servers spell a list called user.
    if (name === field || name === `${field}[]`) names.push(value)
    if (names.length === NAMES_MAX) break
  }
  return names
}

function fromMultipart(text: string, field: string): readonly string[] {
  const names: string[] = []
  for (const part of text.split(/\r?\n--/)) {
    const end = /\r?\n\r?\n/.exec(part)
    if (end === null) continue
    const named = /^content-disposition:[^\r\n]*;\s*name=(?:"([^"]*)"|([^;\s]*))/im.exec(part.slice(0, end.index))
    if ((named?.[1] ?? named?.[2]) === field) names.push(part.slice(end.index + end[0].length))
    if (names.length === NAMES_MAX) break
  }
  return names
}
