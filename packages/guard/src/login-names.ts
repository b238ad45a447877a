/** Finds the account names in the body of a login request: a form, JSON, or multipart form, as the WAF reads it. */
import { type HeaderField, requestFields } from '@ringwall/waf'

/** Longest login that is read, bytes, where the WAF does not read more; a longer one is refused. */
export const LOGIN_BODY_BYTES_MAX = 16_384
const FORM = 'application/x-www-form-urlencoded'
const FORM_OR_KNOWN = /^\s*(?:application\/x-www-form-urlencoded|multipart\/form-data|application\/(?:[\w.-]{1,60}\+)?json)\b/i
const NAMES_MAX = 8
const NAME_CHARS_MAX = 512

/**
 * All different values of the field, wherever a server may find it: which of several it takes differs. Empty when the
 * body names none; undefined when it names more than any honest login does.
 *
 * @param kept What of a value counts; empty for nothing.
 */
export function loginNames(
  headers: readonly HeaderField[],
  body: Uint8Array,
  field: string,
  kept: (value: string) => string = (value) => (value.trim() === '' ? '' : value.slice(0, NAME_CHARS_MAX)),
): readonly string[] | undefined {
  const type = headers.find(([name]) => name.toLowerCase() === 'content-type')?.[1] ?? ''
  const names = new Set<string>()
  // Under a type that says nothing some servers read a form all the same.
  for (const as of FORM_OR_KNOWN.test(type) ? [type] : [type, FORM]) {
    for (const [name, text] of requestFields(body, as)) {
      const value = isField(name, field) ? kept(text) : ''
      if (value === '') continue
      names.add(value)
      if (names.size > NAMES_MAX) return undefined
    }
  }
  return [...names]
}

/** `user`, `user[]` and `user[0]` as forms spell lists; `json.user` and `json.user.0` as JSON is taken apart. */
export function isField(name: string, field: string): boolean {
  const plain = name.startsWith('json.') ? name.slice('json.'.length) : name
  if (!plain.startsWith(field)) return false
  return /^(?:$|\[\d{0,4}\]$|\.\d{1,4}$)/.test(plain.slice(field.length))
}
