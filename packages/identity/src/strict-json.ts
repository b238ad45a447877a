/** JSON objects without duplicate keys: two readers that pick different ones of a pair disagree on what was signed. */

/**
 * Parses the text of one JSON object.
 *
 * @returns undefined for anything else, and for an object with the same key twice at any depth.
 */
export function parseStrictObject(text: string): Readonly<Record<string, unknown>> | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return hasDuplicateKeys(text) ? undefined : (value as Readonly<Record<string, unknown>>)
}

/** `text` is valid JSON. Walks its strings and brackets once; a stack of its own, so that depth costs memory, not stack. */
function hasDuplicateKeys(text: string): boolean {
  const open: (Set<string> | undefined)[] = []
  for (let at = 0; at < text.length; at += 1) {
    const character = text[at]
    if (character === '{') open.push(new Set())
    else if (character === '[') open.push(undefined)
    else if (character === '}' || character === ']') open.pop()
    else if (character === '"') {
      const end = endOfString(text, at)
      let after = end
      while (isBlank(text.charCodeAt(after))) after += 1
      const isKey = text[after] === ':'
      const keys = open.at(-1)
      if (isKey && keys !== undefined) {
        const key = JSON.parse(text.slice(at, end)) as string
        if (keys.has(key)) return true
        keys.add(key)
      }
      at = end - 1
    }
  }
  return false
}

/** White space of JSON (RFC 8259 section 2), however much of it. */
function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09 || code === 0x0a || code === 0x0d
}

/** The index after the closing quote of the string that begins at `at`. */
function endOfString(text: string, at: number): number {
  let end = at + 1
  while (text[end] !== '"') end += text[end] === '\\' ? 2 : 1
  return end + 1
}
