/** JSON bodies (RFC 8259) as arguments: `{"a":{"b":[7]}}` has `json.a.b.0` = `7`. Names of members are values too. */
import { ARGUMENTS_MAX, type Argument, type ParsedBody } from './arguments.ts'

const DEPTH_MAX = 64

/** JSON.parse would recurse for us; the depth is looked at first, without parsing. */
function depthOf(text: string): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i)
    if (inString) {
      if (code === 0x5c) i += 1
      else if (code === 0x22) inString = false
    } else if (code === 0x22) inString = true
    else if (code === 0x7b || code === 0x5b) deepest = Math.max(deepest, ++depth)
    else if (code === 0x7d || code === 0x5d) depth -= 1
  }
  return deepest
}

export function parseJson(text: string): ParsedBody {
  const wrong = (error: string): ParsedBody => ({ arguments: [], files: [], error, tooMany: false })
  if (text.trim() === '') return { arguments: [], files: [], error: undefined, tooMany: false }
  if (depthOf(text) > DEPTH_MAX) return wrong(`JSON deeper than ${DEPTH_MAX}`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return wrong('malformed JSON')
  }
  const found: Argument[] = []
  // A list of work instead of recursion: `value` is as deep as its sender made it.
  const open: { readonly name: string; readonly value: unknown }[] = [{ name: 'json', value }]
  while (open.length > 0 && found.length < ARGUMENTS_MAX) {
    const { name, value: next } = open.pop() as (typeof open)[number]
    if (typeof next === 'object' && next !== null) {
      for (const [key, member] of Object.entries(next).reverse()) open.push({ name: `${name}.${key}`, value: member })
    } else found.push({ name, value: next === null ? '' : String(next) })
  }
  return { arguments: found, files: [], error: undefined, tooMany: open.length > 0 }
}
