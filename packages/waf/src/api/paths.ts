/** Path templates as a trie by segments. A segment that is written out stands before one with a parameter. */
import { SEGMENTS_MAX } from './limits.ts'

/** A segment of a template: text, or one parameter with text around it. */
export interface TemplateSegment {
  /** Before the parameter, or all of it. */
  readonly prefix: string
  readonly parameter: string | undefined
  readonly suffix: string
}

/** @returns A sentence when it is no template. */
export function parseTemplate(path: string): readonly TemplateSegment[] | string {
  const segments: TemplateSegment[] = []
  for (const text of path.slice(1).split('/')) {
    const match = /^([^{}]*)(?:\{([^{}]+)\}([^{}]*))?$/.exec(text)
    if (match === null) {
      const braces = text.split('{').length > 2
      return braces ? 'a segment may hold one parameter only' : 'the braces of a parameter do not match'
    }
    const [, prefix = '', parameter, suffix = ''] = match
    if (parameter === undefined && (text === '.' || text === '..')) return 'dot segments are resolved before'
    if (/[\\;?#%]/.test(prefix + suffix)) return 'write it decoded, without ; ? # % and backslashes'
    segments.push({ prefix, parameter, suffix })
  }
  if (segments.slice(0, -1).some(({ prefix, parameter, suffix }) => `${prefix}${suffix}` === '' && parameter === undefined)) {
    return 'an empty segment'
  }
  return segments.length > SEGMENTS_MAX ? `more than ${SEGMENTS_MAX} segments` : segments
}

interface TrieNode<T> {
  value: T | undefined
  readonly texts: Map<string, TrieNode<T>>
  /** Longest text around the parameter first. */
  readonly parameters: { readonly prefix: string; readonly suffix: string; readonly node: TrieNode<T> }[]
}

const emptyNode = <T>(): TrieNode<T> => ({ value: undefined, texts: new Map(), parameters: [] })

export class PathTrie<T> {
  readonly #root: TrieNode<T> = emptyNode()

  /** @returns What is there already for an equal template. */
  add(segments: readonly TemplateSegment[], value: T): T | undefined {
    let node = this.#root
    for (const { prefix, parameter, suffix } of segments) {
      let next: TrieNode<T> | undefined
      if (parameter === undefined) {
        next = node.texts.get(prefix) ?? emptyNode()
        node.texts.set(prefix, next)
      } else {
        next = node.parameters.find((edge) => edge.prefix === prefix && edge.suffix === suffix)?.node
        if (next === undefined) {
          next = emptyNode()
          node.parameters.push({ prefix, suffix, node: next })
          node.parameters.sort((a, b) => b.prefix.length + b.suffix.length - a.prefix.length - a.suffix.length)
        }
      }
      node = next
    }
    if (node.value !== undefined) return node.value
    node.value = value
    return undefined
  }

  /** Each node is seen once at most: it takes no longer than there are templates. */
  find(segments: readonly string[]): T | undefined {
    return segments.length > SEGMENTS_MAX ? undefined : this.#find(this.#root, segments, 0)
  }

  #find(node: TrieNode<T>, segments: readonly string[], at: number): T | undefined {
    const segment = segments[at]
    if (segment === undefined) return node.value
    const text = node.texts.get(segment)
    const found = text === undefined ? undefined : this.#find(text, segments, at + 1)
    if (found !== undefined) return found
    for (const { prefix, suffix, node: next } of node.parameters) {
      if (segment.length <= prefix.length + suffix.length || !segment.startsWith(prefix) || !segment.endsWith(suffix)) continue
      const below = this.#find(next, segments, at + 1)
      if (below !== undefined) return below
    }
    return undefined
  }
}

/**
 * The segments of a target's path, each percent-decoded once.
 *
 * @returns A sentence when servers may read it differently: encoded separators, dot and empty segments, segment parameters,
 *   controls, encodings that are not UTF-8.
 */
export function segmentsOf(target: string): readonly string[] | string {
  let path = target
  if (!path.startsWith('/')) {
    const absolute = /^https?:\/\/[^/?#\\]*/i.exec(path)
    if (absolute === null) return 'the target is no path'
    path = path.slice(absolute[0].length)
  }
  const end = path.search(/[?#]/)
  if (end >= 0) path = path.slice(0, end)
  if (!path.startsWith('/')) path = `/${path}`
  if (/[;\\\u0000-\u0020\u007f-\uffff]/.test(path)) return 'the path holds characters that servers read differently'
  const segments = path.slice(1).split('/')
  for (const [index, raw] of segments.entries()) {
    if (raw === '' && index < segments.length - 1) return 'the path has an empty segment'
    if (!raw.includes('%')) {
      if (raw === '.' || raw === '..') return 'the path has dot segments'
      continue
    }
    const text = decodeOnce(raw)
    if (text === undefined) return 'the path is not UTF-8 in percent-encoding'
    if (/[/\\\u0000-\u001f\u007f]/.test(text) || text === '.' || text === '..') return 'the path hides separators or controls'
    segments[index] = text
  }
  return segments
}

/** Undefined when it is not UTF-8, or no percent-encoding. */
export function decodeOnce(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
