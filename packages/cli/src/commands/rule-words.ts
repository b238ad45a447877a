/** What a rule does, in sentences. */
import type { RuleDetail, RuleLink } from '@ringwall/client'

const PHASES: Readonly<Record<number, string>> = {
  1: 'once the head of a request is there',
  2: 'once the body of a request is there',
  3: 'once the head of a response is there',
  4: 'once the body of a response is there',
  5: 'when everything is over',
}

const VARIABLES: Readonly<Record<string, string>> = {
  ARGS: 'every argument',
  ARGS_GET: 'every argument of the query',
  ARGS_POST: 'every argument of the body',
  ARGS_NAMES: 'the name of every argument',
  ARGS_COMBINED_SIZE: 'the size of all arguments',
  FILES: 'the name of every uploaded file',
  FILES_NAMES: 'the field of every uploaded file',
  FILES_TMP_CONTENT: 'the content of every uploaded file',
  FULL_REQUEST: 'the whole request',
  MATCHED_VAR: 'what matched before',
  MATCHED_VARS: 'everything that matched before',
  QUERY_STRING: 'the query',
  REMOTE_ADDR: 'the client’s address',
  REQBODY_ERROR: 'whether the body could not be parsed',
  REQUEST_BASENAME: 'the last part of the path',
  REQUEST_BODY: 'the raw body',
  REQUEST_COOKIES: 'every cookie',
  REQUEST_COOKIES_NAMES: 'the name of every cookie',
  REQUEST_FILENAME: 'the path',
  REQUEST_HEADERS: 'every header field',
  REQUEST_HEADERS_NAMES: 'the name of every header field',
  REQUEST_LINE: 'the request line',
  REQUEST_METHOD: 'the method',
  REQUEST_PROTOCOL: 'the protocol',
  REQUEST_URI: 'path and query',
  REQUEST_URI_RAW: 'the target as sent',
  UNPARSED_BODY: 'a body that no parser took apart',
  XML: 'the values of an XML body',
}

const MEMBERS: Readonly<Record<string, string>> = {
  ARGS: 'the argument',
  ARGS_GET: 'the argument of the query',
  ARGS_POST: 'the argument of the body',
  REQUEST_HEADERS: 'the header field',
  REQUEST_COOKIES: 'the cookie',
  TX: 'the variable',
  FILES: 'the file of the field',
}

const OPERATORS: Readonly<Record<string, (argument: string) => string>> = {
  rx: (argument) => `matches the pattern ${argument}`,
  rxglobal: (argument) => `matches the pattern ${argument}`,
  pm: (argument) => `holds one of the words ${argument}`,
  pmf: (argument) => `holds a phrase of ${argument}`,
  pmfromfile: (argument) => `holds a phrase of ${argument}`,
  contains: (argument) => `holds ${argument}`,
  containsword: (argument) => `holds the word ${argument}`,
  strmatch: (argument) => `holds ${argument}`,
  beginswith: (argument) => `begins with ${argument}`,
  endswith: (argument) => `ends in ${argument}`,
  streq: (argument) => `is ${argument}`,
  within: (argument) => `is part of ${argument}`,
  eq: (argument) => `is ${argument}`,
  ne: (argument) => `is not ${argument}`,
  ge: (argument) => `is ${argument} or more`,
  gt: (argument) => `is more than ${argument}`,
  le: (argument) => `is ${argument} or less`,
  lt: (argument) => `is less than ${argument}`,
  detectsqli: () => 'would change the SQL statement that it is pasted into',
  detectxss: () => 'would run a script in the page that it is pasted into',
  detectcommand: () => 'would run a command in a shell',
  detectpath: () => 'leads to a file that was not offered',
  detectinsideaddress: () => 'is an address of the inside of a network',
  detectgraphqlcost: () => 'is a GraphQL document that multiplies work',
  ipmatch: (argument) => `lies in ${argument}`,
  validatebyterange: (argument) => `has a byte outside of ${argument}`,
  validateurlencoding: () => 'has a broken % escape',
  validateutf8encoding: () => 'is not UTF-8',
  unconditionalmatch: () => 'is there',
}

function variable(text: string): string {
  const match = /^(!?&?|&!)([A-Za-z_]+)(?::(.*))?$/s.exec(text)
  if (match === null) return text
  const [, marks = '', name = '', member] = match
  const upper = name.toUpperCase()
  const what =
    member === undefined
      ? (VARIABLES[upper] ?? upper)
      : member.startsWith('/')
        ? `${VARIABLES[upper] ?? upper} with a name like ${member}`
        : `${MEMBERS[upper] ?? upper} ${member}`
  if (marks.includes('&')) return `the number of: ${what}`
  return marks.includes('!') ? `but not ${what}` : what
}

function condition({ variables, transformations, operator, argument, negated }: RuleLink): string {
  if (operator === '') return 'always'
  const looks = variables.map(variable).join(', ')
  const after = transformations.length === 0 ? '' : ` (after ${transformations.join(', ')})`
  const shown = argument.length > 200 ? `${argument.slice(0, 199)}…` : argument
  const says = OPERATORS[operator.toLowerCase()]?.(shown) ?? `@${operator} ${shown}`.trim()
  return negated ? `it is not so that ${looks}${after} ${says}` : `${looks}${after} ${says}`
}

const DISRUPTIONS: Readonly<Record<string, string>> = {
  pass: 'nothing is refused by this rule itself',
  allow: 'no more rules are asked',
  'allow:phase': 'no more rules of this phase are asked',
  'allow:request': 'no more rules about the request are asked',
}

export function inWords({ phase, links, disruption, status }: RuleDetail): readonly string[] {
  const [first, ...rest] = links
  const sentences = [`It runs ${PHASES[phase] ?? `in phase ${phase}`}.`]
  if (first !== undefined) sentences.push(first.operator === '' ? 'It always matches.' : `It matches when ${condition(first)}`)
  for (const link of rest) sentences.push(`  and ${condition(link)}`)
  const effects = links.flatMap(({ actions }) =>
    actions.filter((action) => /^(?:setvar|ctl|skip|skipAfter|initcol|expirevar)\b/i.test(action)),
  )
  const refusal =
    disruption === 'deny' || disruption === 'block'
      ? `the request is refused with ${status}`
      : (DISRUPTIONS[disruption] ?? disruption)
  sentences.push(`Then ${refusal}${effects.length === 0 ? '' : `; it does ${effects.join(', ')}`}.`)
  return sentences
}
