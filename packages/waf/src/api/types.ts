/**
 * The words of the API check: what a service's requests must look like, in OpenAPI's own terms (OpenAPI 3.1, JSON Schema draft
 * 2020-12), stripped of all that only people read. Pure.
 */
import type { HeaderField } from '../types.ts'

export type JsonScalar = string | number | boolean | null
export type JsonValue = JsonScalar | readonly JsonValue[] | { readonly [name: string]: JsonValue }

export const SCHEMA_TYPES = ['null', 'boolean', 'object', 'array', 'number', 'string', 'integer'] as const
export type SchemaType = (typeof SCHEMA_TYPES)[number]

export const FORMATS = [
  'date',
  'date-time',
  'time',
  'duration',
  'email',
  'hostname',
  'ipv4',
  'ipv6',
  'uri',
  'uuid',
  'int32',
  'int64',
  'byte',
] as const
export type Format = (typeof FORMATS)[number]

/** A JSON Schema: the keywords that are checked, and no others. `true` takes anything, `false` nothing. */
export type ApiSchema = boolean | ApiSchemaObject

export interface ApiSchemaObject {
  /** `#/schemas/NAME`. */
  readonly $ref?: string | undefined
  readonly type?: SchemaType | readonly SchemaType[] | undefined
  readonly enum?: readonly unknown[] | undefined
  readonly const?: unknown
  readonly multipleOf?: number | undefined
  readonly minimum?: number | undefined
  readonly maximum?: number | undefined
  readonly exclusiveMinimum?: number | undefined
  readonly exclusiveMaximum?: number | undefined
  readonly minLength?: number | undefined
  readonly maxLength?: number | undefined
  readonly pattern?: string | undefined
  readonly format?: Format | undefined
  readonly items?: ApiSchema | undefined
  readonly prefixItems?: readonly ApiSchema[] | undefined
  readonly minItems?: number | undefined
  readonly maxItems?: number | undefined
  readonly uniqueItems?: boolean | undefined
  readonly properties?: Readonly<Record<string, ApiSchema>> | undefined
  readonly patternProperties?: Readonly<Record<string, ApiSchema>> | undefined
  readonly additionalProperties?: ApiSchema | undefined
  readonly propertyNames?: ApiSchema | undefined
  readonly required?: readonly string[] | undefined
  readonly dependentRequired?: Readonly<Record<string, readonly string[]>> | undefined
  readonly minProperties?: number | undefined
  readonly maxProperties?: number | undefined
  readonly allOf?: readonly ApiSchema[] | undefined
  readonly anyOf?: readonly ApiSchema[] | undefined
  readonly oneOf?: readonly ApiSchema[] | undefined
  readonly not?: ApiSchema | undefined
}

export interface ApiParameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header' | 'cookie'
  readonly required?: boolean | undefined
  readonly schema?: ApiSchema | undefined
  readonly style?: 'simple' | 'form' | 'spaceDelimited' | 'pipeDelimited' | 'deepObject' | undefined
  readonly explode?: boolean | undefined
  readonly allowEmptyValue?: boolean | undefined
}

export interface ApiRequestBody {
  readonly required?: boolean | undefined
  /** By media type or range: `application/json`, `text/*`. */
  readonly content: Readonly<Record<string, { readonly schema?: ApiSchema | undefined }>>
}

export interface ApiOperation {
  readonly parameters?: readonly ApiParameter[] | undefined
  readonly requestBody?: ApiRequestBody | undefined
}

export const API_METHODS = ['get', 'put', 'post', 'delete', 'options', 'head', 'patch', 'trace'] as const
export type ApiMethod = (typeof API_METHODS)[number]
export type ApiPathItem = { readonly [method in ApiMethod]?: ApiOperation | undefined }

export interface ApiDocument {
  /** What to do with query parameters that the operation does not declare. */
  readonly unknownQuery: 'deny' | 'pass'
  readonly paths: Readonly<Record<string, ApiPathItem>>
  readonly schemas: Readonly<Record<string, ApiSchema>>
}

/** One thing wrong with a document, by its place in it. */
export interface ApiFault {
  readonly path: readonly PropertyKey[]
  /** The key itself is at fault, not its value. */
  readonly onKey?: boolean
  readonly message: string
  readonly hint?: string
}

/** Why a request is outside of the document. For operators: clients see none of it. */
export interface ApiProblem {
  /** `api:path`, `api:method`, `api:path NAME`, `api:query NAME`, `api:header NAME`, `api:cookie NAME`, `api:type`, `api:body /pointer`. */
  readonly rule: string
  /** A sentence without anything of the request’s values. */
  readonly reason: string
}

export interface ApiRequest {
  readonly method: string
  /** As on the wire. */
  readonly target: string
  readonly headers: readonly HeaderField[]
}

/** One request under examination: its head has been seen. */
export interface ApiExamination {
  /** `GET /orders/{id}`; undefined when no operation is declared for it. */
  readonly operation: string | undefined
  /** What is wrong with the head, if anything. */
  readonly problem: ApiProblem | undefined
  /** Whether a body is declared for it. */
  readonly takesBody: boolean
  /** Units of work so far: about one a character or a schema applied. */
  readonly work: number
  /** Checks a body that is complete. Once. Not to be asked when the head has a problem. */
  body(bytes: Uint8Array): ApiProblem | undefined
}

/** A document ready to check with. */
export interface ApiCheck {
  /** `GET /orders/{id}`, in the document's order. */
  readonly operations: readonly string[]
  /** Total: it never throws, whatever the request. */
  begin(request: ApiRequest): ApiExamination
}

export type ApiCompilation =
  | { readonly ok: true; readonly check: ApiCheck }
  | { readonly ok: false; readonly faults: readonly ApiFault[] }
