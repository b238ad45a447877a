/** Parameters of a request as texts, and texts as the values that their schemas speak of (OpenAPI 3.1, section 4.8.12). */
import { type Json, JsonRefused, parseJson } from './json.ts'
import { PARAMETER_ITEMS_MAX } from './limits.ts'
import { type Budget, emptyNode, FILE, mismatch, reachedOn, type SchemaNode, TYPE_BITS, typesOf, wordsOf } from './schema.ts'

const { OBJECT, ARRAY, NUMBER, STRING, INTEGER, BOOLEAN } = TYPE_BITS
const ENCODER = new TextEncoder()
/** Servers read `1e3` as 1 or as 1000 where they want a whole number. */
const INTEGER_TEXT = /^-?(?:0|[1-9]\d*)$/
const NUMBER_TEXT = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/

/** How the text of one value becomes a value: by what its schema lets it be. */
export interface TextReading {
  readonly node: SchemaNode
  readonly types: number
  /** Of the items, when it may be a list. */
  readonly itemTypes: number
  readonly mayBeList: boolean
  /** It may be a list and nothing that is written as one text. */
  readonly isList: boolean
}

const ANYTHING = emptyNode()

export function textReading(node: SchemaNode): TextReading {
  const types = typesOf(node)
  const items = reachedOn(node).flatMap((reached) => (reached.items === undefined ? [] : [reached.items]))
  const itemTypes = items.length === 0 ? -1 : items.reduce((bits, item) => bits | typesOf(item), 0)
  const mayBeList = (types & ARRAY) !== 0
  const isList = mayBeList && (types & (STRING | NUMBER | INTEGER | BOOLEAN)) === 0
  // What says nothing of its type stands for one value.
  return { node, types, itemTypes, mayBeList: mayBeList && types !== typesOf(ANYTHING), isList }
}

/** The values that a text can stand for, the most particular first. */
function candidates(text: string, types: number): readonly Json[] {
  const found: Json[] = []
  const written = (types & NUMBER) !== 0 ? NUMBER_TEXT : INTEGER_TEXT
  if ((types & (NUMBER | INTEGER)) !== 0 && written.test(text)) {
    const value = parsed(text)
    if (value !== undefined) found.push(value)
  }
  if ((types & BOOLEAN) !== 0 && (text === 'true' || text === 'false')) found.push(text === 'true')
  if ((types & STRING) !== 0) found.push(text)
  return found
}

/** By way of the JSON reader, for its strictness. */
function parsed(text: string): Json | undefined {
  try {
    return parseJson(ENCODER.encode(text))
  } catch (error) {
    if (error instanceof JsonRefused) return undefined
    throw error
  }
}

/** @returns A sentence when none of the values that the text can stand for conforms. */
export function textMismatch({ node, types }: TextReading, text: string, budget: Budget): string | undefined {
  let reason: string | undefined
  for (const value of candidates(text, types)) {
    const found = mismatch(node, value, budget)
    if (found === undefined) return undefined
    reason = found.reason
    if (budget.exhausted) break
  }
  return reason ?? `expected ${wordsOf(types)}`
}

/** The same for the texts of a list's items. */
export function listMismatch({ node, itemTypes }: TextReading, texts: readonly string[], budget: Budget): string | undefined {
  if (texts.length > PARAMETER_ITEMS_MAX) return `more than ${PARAMETER_ITEMS_MAX} items`
  const read = texts.map((text) => candidates(text, itemTypes)[0] ?? text)
  const found = mismatch(node, read, budget)
  if (found === undefined || budget.exhausted || (itemTypes & STRING) === 0) return found?.reason
  return mismatch(node, texts, budget)?.reason
}

/** What a form's field may be, by its name: worked out once. */
export class FieldReadings {
  readonly #node: SchemaNode
  readonly #known = new Map<string, readonly TextReading[]>()
  readonly #others: readonly TextReading[]

  constructor(node: SchemaNode) {
    this.#node = node
    const reached = reachedOn(node)
    for (const name of new Set(reached.flatMap(({ properties }) => [...properties.keys()]))) {
      const nodes = reached.flatMap(({ properties }) => properties.get(name) ?? [])
      this.#known.set(name, nodes.map(textReading))
    }
    this.#others = reached.flatMap(({ additionalProperties: more }) =>
      more === undefined || more.never ? [] : [textReading(more)],
    )
  }

  get node(): SchemaNode {
    return this.#node
  }

  of(name: string): readonly TextReading[] {
    return this.#known.get(name) ?? this.#others
  }

  /** The fields, texts or files, as one object; the name that stands for one value and occurs several times, if any. */
  object(
    fields: readonly (readonly [name: string, value: string | undefined])[],
    budget: Budget,
  ): ReadonlyMap<string, Json> | string {
    const texts = new Map<string, (string | undefined)[]>()
    for (const [name, text] of fields) {
      const known = texts.get(name)
      if (known === undefined) texts.set(name, [text])
      else known.push(text)
    }
    const object = new Map<string, Json>()
    for (const [name, values] of texts) {
      const readings = this.of(name)
      const list = readings.find(({ isList, mayBeList }) => isList || (mayBeList && values.length > 1))
      if (list !== undefined) {
        if (values.length > PARAMETER_ITEMS_MAX) return name
        object.set(
          name,
          values.map((text) => (text === undefined ? FILE : (candidates(text, list.itemTypes)[0] ?? text))),
        )
      } else if (values.length > 1) return name
      else object.set(name, values[0] === undefined ? FILE : this.#value(readings, values[0], budget))
    }
    return object
  }

  /** The first of the values that a text can stand for and that conforms to one of its schemas; else the first. */
  #value(readings: readonly TextReading[], text: string, budget: Budget): Json {
    let first: Json | undefined
    for (const { node, types } of readings) {
      const values = (types & (OBJECT | STRING)) === OBJECT ? [parsed(text) ?? text] : candidates(text, types)
      for (const value of values) {
        first ??= value
        if (mismatch(node, value, budget) === undefined) return value
      }
    }
    return first ?? text
  }
}
