/** The part of JSON Schema (draft 2020-12) that the admin API is described in, and short ways to write it. */

/** The part of JSON Schema that is used here, and that the client's types are generated from. */
export interface Schema {
  readonly type?: string | readonly string[]
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly additionalProperties?: boolean | Schema
  readonly items?: Schema
  readonly enum?: readonly (string | number)[]
  readonly const?: string
  readonly oneOf?: readonly Schema[]
  readonly $ref?: string
  readonly minimum?: number
  readonly maximum?: number
}

export const text: Schema = { type: 'string' }

export const number: Schema = { type: 'number' }

export const whole: Schema = { type: 'integer' }

export const flag: Schema = { type: 'boolean' }

export const anything: Schema = {}

export const orNull = (schema: Schema): Schema => ({ oneOf: [schema, { type: 'null' }] })

export const list = (items: Schema): Schema => ({ type: 'array', items })

export const choice = (...values: readonly string[]): Schema => ({ type: 'string', enum: values })

export const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` })

export const described = (description: string, schema: Schema): Schema => ({ ...schema, description })

/** An object all of whose properties are always there, but those whose name ends in `?`. */
export function object(description: string, properties: Readonly<Record<string, Schema>>): Schema {
  const entries = Object.entries(properties)
  return {
    type: 'object',
    description,
    properties: Object.fromEntries(entries.map(([name, schema]) => [name.replace(/\?$/, ''), schema])),
    required: entries.flatMap(([name]) => (name.endsWith('?') ? [] : [name])),
    additionalProperties: false,
  }
}

export const ms = described('Unix milliseconds.', number)

export const outcome = choice('allow', 'deny', 'challenge', 'throttle')

export const exceptionScope = { rule: whole, service: text, 'route?': text, 'path?': text, variable: text }

export const ruleException = { name: text, ...exceptionScope, owner: text, reason: text, until: text }
