/** `%{TX.score}` and the like inside of an argument. Expanded at match time; what has no value expands to nothing. */
export interface Expandable {
  /** The text itself when there is nothing to expand. */
  readonly constant: string | undefined
  readonly parts: readonly MacroPart[]
}

export type MacroPart = string | { readonly collection: string; readonly key: string | undefined }

export function parseMacro(text: string): Expandable {
  if (!text.includes('%{')) return { constant: text, parts: [text] }
  const parts: MacroPart[] = []
  let from = 0
  for (const match of text.matchAll(/%\{([A-Za-z_]+)(?:[.:]([^}]{1,128}))?\}/g)) {
    if (match.index > from) parts.push(text.slice(from, match.index))
    parts.push({ collection: match[1]!.toUpperCase(), key: match[2]?.toLowerCase() })
    from = match.index + match[0].length
  }
  if (from === 0) return { constant: text, parts: [text] }
  if (from < text.length) parts.push(text.slice(from))
  return { constant: undefined, parts }
}
