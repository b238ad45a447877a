/** Names of secrets: parts of letters, digits, `.`, `_` and `-`, with `/` between them. Safe for browsers. */
export const SECRET_NAME: RegExp = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,62}(\/[A-Za-z0-9_][A-Za-z0-9._-]{0,62}){0,7}$/
export const SECRET_NAME_CHARS_MAX = 200
export const SECRET_NAME_EXPECTED = '1 to 8 parts of letters, digits, ., _ and -, with / between them; at most 200 characters'
