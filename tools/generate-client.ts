/** Writes the client's types from the admin API's OpenAPI document. A test checks that the written file is current. */
import { openapi, paths } from '../packages/node/src/api/openapi.ts'
import type { Schema } from '../packages/node/src/api/shapes.ts'

/** The TypeScript type of a schema. @throws For a keyword outside the part that the document uses. */
export function typeOf(schema: Schema): string {
  if (schema.$ref !== undefined) return schema.$ref.split('/').at(-1) as string
  if (schema.const !== undefined) return `'${schema.const}'`
  if (schema.enum !== undefined)
    return schema.enum.map((value) => (typeof value === 'string' ? `'${value}'` : String(value))).join(' | ')
  if (schema.oneOf !== undefined) return schema.oneOf.map(typeOf).join(' | ')
  if (schema.type === 'array') return `readonly ${parenthesized(typeOf(schema.items ?? {}))}[]`
  if (schema.type === 'object' && schema.properties !== undefined) return objectType(schema)
  if (schema.type === 'object')
    return typeof schema.additionalProperties === 'object'
      ? `Readonly<Record<string, ${typeOf(schema.additionalProperties)}>>`
      : 'object'
  if (schema.type === 'string' || schema.type === 'boolean' || schema.type === 'null') return schema.type
  if (schema.type === 'number' || schema.type === 'integer') return 'number'
  if (Object.keys(schema).every((key) => key === 'description')) return 'unknown'
  throw new Error(`no type for ${JSON.stringify(schema)}`)
}

function parenthesized(type: string): string {
  return / \| /.test(type) && !type.startsWith('{') ? `(${type})` : type
}

function objectType({ properties = {}, required = [] }: Schema): string {
  const members = Object.entries(properties).map(([name, schema]) => {
    const comment = schema.description === undefined || schema.properties !== undefined ? '' : `/** ${schema.description} */ `
    const optional = required.includes(name) ? '' : '?'
    return `${comment}readonly ${name}${optional}: ${typeOf(schema)}`
  })
  return `{ ${members.join('; ')} }`
}

/** The whole file. */
export function clientTypes(): string {
  const lines = ['// Generated from the OpenAPI document by `npm run generate`. Do not edit.', '']
  for (const [name, schema] of Object.entries(openapi.components.schemas)) {
    if (schema.description !== undefined) lines.push(`/** ${schema.description} */`)
    lines.push(`export type ${name} = ${typeOf(schema)}`, '')
  }
  lines.push('/** Operations that answer JSON, by operationId. */', 'export interface Operations {')
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const answer = operation.responses['200']?.content?.['application/json']?.schema
      if (answer?.$ref === undefined) continue
      const waiting = operation.responses['202']?.content?.['application/json']?.schema
      const answers = [answer, ...(waiting === undefined ? [] : [waiting])].map(typeOf).join(' | ')
      const query = (operation.parameters ?? []).filter((parameter) => parameter.in === 'query')
      const queryType =
        query.length === 0
          ? 'undefined'
          : `{ ${query.map(({ name, schema }) => `readonly ${name}?: ${typeOf(schema)}`).join('; ')} }`
      const body = operation.requestBody?.content?.['application/json']?.schema
      lines.push(`  /** ${method.toUpperCase()} ${path}: ${operation.summary} */`)
      lines.push(
        `  readonly ${operation.operationId}: { readonly answer: ${answers}; readonly query: ${queryType}; readonly body: ${body === undefined ? 'undefined' : typeOf(body)} }`,
      )
    }
  }
  lines.push('}', '', '/** Method and path of each of them. */', 'export const OPERATIONS = {')
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      if (operation.responses['200']?.content?.['application/json']?.schema.$ref === undefined) continue
      lines.push(`  ${operation.operationId}: ['${method.toUpperCase()}', '${path}'],`)
    }
  }
  lines.push('} as const satisfies Record<keyof Operations, readonly [string, string]>', '')
  return lines.join('\n')
}
