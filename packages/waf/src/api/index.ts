export { compileApi } from './check.ts'
export { type ImportedApi, type ImportNote, importOpenApi } from './openapi.ts'
export { compileTextPattern, PatternRefused, type TextPattern } from './pattern.ts'
export {
  API_METHODS,
  type ApiCheck,
  type ApiCompilation,
  type ApiDocument,
  type ApiExamination,
  type ApiFault,
  type ApiMethod,
  type ApiOperation,
  type ApiParameter,
  type ApiPathItem,
  type ApiProblem,
  type ApiRequest,
  type ApiRequestBody,
  type ApiSchema,
  type ApiSchemaObject,
  FORMATS,
  type Format,
  SCHEMA_TYPES,
  type SchemaType,
} from './types.ts'
