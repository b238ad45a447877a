import type { Pattern } from './syntax.ts'

/**
 * Writes a pattern as source of a JavaScript `RegExp` (flags: none). Case-insensitive parts are written out as sets, so no
 * flag changes what a byte means, and V8's linear-time engine takes the result where a pattern has no look-around.
 */
export function emitPattern(pattern: Pattern): string {
  switch (pattern.kind) {
    case 'set':
      return emitSet(pattern.set)
    case 'seq':
      return pattern.items.map((item) => (item.kind === 'alt' ? `(?:${emitPattern(item)})` : emitPattern(item))).join('')
    case 'alt':
      return pattern.items.map(emitPattern).join('|')
    case 'repeat': {
      const inner = emitPattern(pattern.item)
      const single = pattern.item.kind === 'set' || pattern.item.kind === 'group' || pattern.item.kind === 'backref'
      return `${single ? inner : `(?:${inner})`}${emitBounds(pattern.min, pattern.max)}${pattern.lazy ? '?' : ''}`
    }
    case 'group':
      return `${pattern.capture ? '(' : '(?:'}${emitPattern(pattern.item)})`
    case 'look':
      return `(?${pattern.behind ? '<' : ''}${pattern.negated ? '!' : '='}${emitPattern(pattern.item)})`
    case 'assert':
      return { start: '^', end: '$', word: '\\b', notWord: '\\B' }[pattern.what]
    case 'backref':
      return `(?:\\${pattern.index})`
  }
}

function emitBounds(min: number, max: number): string {
  if (max === Number.POSITIVE_INFINITY) return min === 0 ? '*' : min === 1 ? '+' : `{${min},}`
  if (min === 0 && max === 1) return '?'
  return min === max ? `{${min}}` : `{${min},${max}}`
}

function emitSet(set: Uint8Array): string {
  const ranges: (readonly [number, number])[] = []
  for (let code = 0; code < 256; code += 1) {
    if (set[code] !== 1) continue
    const start = code
    while (code < 255 && set[code + 1] === 1) code += 1
    ranges.push([start, code])
  }
  const only = ranges.length === 1 ? ranges[0]! : undefined
  if (only !== undefined && only[0] === only[1]) return emitCode(only[0])
  if (only !== undefined && only[0] === 0 && only[1] === 255) return '[^]'
  return `[${ranges.map(([low, high]) => (low === high ? emitCode(low) : `${emitCode(low)}-${emitCode(high)}`)).join('')}]`
}

function emitCode(code: number): string {
  const char = String.fromCharCode(code)
  return /[A-Za-z0-9]/.test(char) ? char : `\\x${code.toString(16).padStart(2, '0')}`
}
