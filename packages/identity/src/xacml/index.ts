export {
  decide,
  evaluationOf,
  jsonResponse,
  type PlainDecision,
  respond,
  type XacmlResult,
  xmlResponse,
} from './decision-point.ts'
export { knownFunctions } from './expressions.ts'
export { type Duty, parseXacmlPolicy, type XacmlPolicy } from './policy.ts'
export { type AttributeGroup, CATEGORIES, parseRequest, type XacmlRequest } from './request.ts'
export { TYPE_IDS, type Value } from './values.ts'
export { XacmlInvalid } from './xml.ts'
