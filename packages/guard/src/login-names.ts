/** Finds the account names in the body of a login request: a form, JSON, or multipart form, as the WAF reads it. */
import { type HeaderField, readFields } from '@ringwall/waf'

/** Longest login that is read, bytes, where the WAF does not read more; a longer one is refused. */
export const LOGIN_BODY_BYTES_MAX = 16_384
const FORM = 'application/x-www-form-urlencoded'
const FORM_OR_KNOWN = /^\s*(?:application\/x-www-form-urlencoded|multipart\/form-data|application\/(?:[\w.-]{1,60}\+)?json)\b/i
const NAMES_MAX = 8
const NAME_CHARS_MAX = 512

/** What a body says in a field: all different values, wherever a server may find it, since which of several it takes differs. */
export interface LoginNames {
  readonly names: readonly string[]
  /** Why others than these may be found: servers read bodies that nobody can be sure of. In a few words. */
  readonly doubt: string | undefined
}

/**
 * @param kept What of a value counts; empty for nothing.
 * @returns undefined when it names more than any honest login does.
 */
export function loginNames(
  headers: readonly HeaderField[],
  body: Uint8Array,
  field: string,
  kept: (value: string) => string = (value) => (value.trim() === '' ? '' : value.slice(0, NAME_CHARS_MAX)),
): LoginNames | undefined {
  const type = headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? ''
  const isKnown = FORM_OR_KNOWN.test(type)
  const names = new Set<string>()
  let doubt = headers.some(isCoded) ? 'a coding that is not undone' : undefined
  // Under a type that says nothing some servers read a form all the same.
  for (const as of isKnown ? [type] : [type, FORM]) {
    const read = readFields(body, as)
    doubt ??= read.doubt
    for (const [name, text] of read.fields) {
      const value = isField(name, field) ? kept(text) : ''
      if (value === '') continue
      names.add(value)
      if (names.size > NAMES_MAX) return undefined
    }
  }
  if (!isKnown && names.size === 0 && body.length > 0) doubt ??= 'a type that is not read'
  return { names: [...names], doubt }
}

function isCoded([name, value]: HeaderField): boolean {
  return name.toLowerCase() === 'content-encoding' && !/^\s*(?:identity\s*)?$/i.test(value)
}

/**
 * `user`, `user[]` and `user[0]` as forms spell lists; `json.user` and `json.user.0` as JSON is taken apart; in any case, since
 * ASP.NET takes any, and with blanks and points where PHP makes underscores of them.
 */
export function isField(name: string, field: string): boolean {
  const plain = name.startsWith('json.') ? name.slice('json.'.length) : name
  const wanted = field.toLowerCase()
  const begin = plain.trimStart().toLowerCase()
  const isSpelled = begin.startsWith(wanted) || begin.slice(0, wanted.length).replace(/[ .]/g, '_') === wanted
  return isSpelled && /^(?:$|\[\d{0,4}\]$|\.\d{1,4}$)/.test(begin.slice(wanted.length))
}
