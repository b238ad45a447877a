/**
 * Tells GraphQL documents that make a server work far more than their length says (GraphQL specification, October 2021, sections
 * 2.2 to 2.12): depth, one field under many aliases, one field many times, many directives, fragments that use each other; and guesses: a login
 * under a few aliases is a few logins, which a limit of requests counts as one.
 * One pass over the tokens; nothing is built but counts.
 */

/** One of these occurs in every document that is found to multiply work. */
export const GRAPHQL_LITERALS: readonly string[] = ['{', '@']

/** Selections inside of selections. Introspection by tools goes about nine deep. */
const DEPTH_MAX = 12
/** The same field by the same or another name. */
const REPEATS_MAX = 20
/** A field that says whether a guess was right: a document that asks it so often guesses. */
const GUESSED =
  /^(?:log_?in|sign_?in|auth(?:enticate|orize)?|(?:verify|validate|check|confirm|redeem|apply)_?\w{0,24}(?:otp|pin|code|token|coupon|voucher|password|card)\w{0,8}|\w{0,24}(?:login|signin|password|otp|two_?factor|mfa)\w{0,8})$/i
const GUESSES_MAX = 3
const DIRECTIVES_MAX = 16
const FRAGMENTS_MAX = 64
const NAMES_MAX = 2_000

/** What the document does too much of, or nothing; also nothing for what is no document. */
export function costlyQuery(text: string): string | undefined {
  if (!/^[\s,]{0,64}(?:\{|(?:query|mutation|subscription|fragment)[\s({@])/.test(text)) return undefined
  const token = /"""[^"]{0,400}"""|"(?:[^"\\\n]|\\.)*"|#[^\n]*|\.\.\.|[{}()[\]:@$!=|]|[A-Za-z_]\w*/g
  const counts = new Map<string, number>()
  const spreads = new Map<string, string[]>()
  let depth = 0
  let inArguments = 0
  let directives = 0
  let names = 0
  let alias = false
  let before = ''
  let fragment = ''
  for (let found = token.exec(text); found !== null && names < NAMES_MAX * 4; found = token.exec(text)) {
    const it = found[0]
    names += 1
    if (it[0] === '#' || it[0] === '"') continue
    if (it === '(') inArguments += 1
    else if (it === ')') inArguments = Math.max(0, inArguments - 1)
    else if (inArguments > 0) continue
    else if (it === '{') {
      depth += 1
      if (depth > DEPTH_MAX) return 'depth'
    } else if (it === '}') {
      depth -= 1
      if (depth === 0) fragment = ''
    } else if (before === '@') {
      directives += 1
      if (directives > DIRECTIVES_MAX) return 'directives'
    } else if (before === '...' && it !== 'on') {
      if (fragment !== '') spreads.set(fragment, [...(spreads.get(fragment) ?? []).slice(0, 8), it])
    } else if (depth === 0 && before === 'fragment') {
      fragment = it
      if (!spreads.has(it)) spreads.set(it, [])
      if (spreads.size > FRAGMENTS_MAX) return 'fragments'
    } else if (it === ':') alias = true
    else if (depth > 0 && /^\w/.test(it) && (alias || it === '__typename')) {
      alias = false
      const count = (counts.get(it) ?? 0) + 1
      counts.set(it, count)
      if (count > REPEATS_MAX) return 'one field many times'
      if (count > GUESSES_MAX && GUESSED.test(it)) return 'guesses'
    }
    before = it
  }
  return usesItself(spreads) ? 'fragments that use each other' : undefined
}

/** Whether a walk along the spreads comes back to where it was (depth-first, each name once). */
function usesItself(spreads: ReadonlyMap<string, readonly string[]>): boolean {
  const state = new Map<string, 'open' | 'done'>()
  for (const start of spreads.keys()) {
    const path: { readonly name: string; next: number }[] = [{ name: start, next: 0 }]
    while (path.length > 0) {
      const top = path.at(-1)!
      if (top.next === 0) {
        if (state.get(top.name) === 'done') {
          path.pop()
          continue
        }
        state.set(top.name, 'open')
      }
      const target = spreads.get(top.name)?.[top.next]
      top.next += 1
      if (target === undefined) {
        state.set(top.name, 'done')
        path.pop()
      } else if (state.get(target) === 'open') return true
      else if (spreads.has(target) && state.get(target) === undefined) path.push({ name: target, next: 0 })
    }
  }
  return false
}
