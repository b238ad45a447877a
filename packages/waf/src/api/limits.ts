/** Bounds of the API check: on what a policy may declare, and on what one request may cost. */

export const PATHS_MAX = 2_000
export const OPERATIONS_MAX = 4_000
export const PATH_CHARS_MAX = 1_024
export const SEGMENTS_MAX = 64
export const PARAMETERS_MAX = 100
export const CONTENT_TYPES_MAX = 16
/** Schemas of one document, nested ones included. */
export const SCHEMAS_MAX = 20_000
export const PATTERNS_MAX = 1_000
export const PATTERN_CHARS_MAX = 1_000
/** Instructions of all patterns' programs together. */
export const PATTERN_INSTRUCTIONS_MAX = 500_000
/** Schemas that one value may be held against by way of `$ref`, `allOf` and the like, one inside the other. */
export const APPLIED_DEPTH_MAX = 200

/** Units of work for one request: a few tens of milliseconds of one core. Overrun refuses. */
export const REQUEST_WORK_MAX = 4_000_000
export const JSON_DEPTH_MAX = 64
/** Digits, sign, point and exponent. */
export const JSON_NUMBER_CHARS_MAX = 64
export const QUERY_PARAMETERS_MAX = 1_000
export const FORM_FIELDS_MAX = 1_000
/** Items of one array in a parameter. */
export const PARAMETER_ITEMS_MAX = 1_000
