/**
 * `npm run conformance:xacml -- --cases DIR`: OASIS's conformance cases for XACML 3.0, from wherever they lie: one folder a case, with Policy.xml,
 * Request.xml and Response.xml. Held to decision, status code, and obligations and advice. Ends with 1 when one is not as expected.
 *
 * A case without a Request.xml is one whose policy is wrong in itself: it is refused when it is read, or it is passed over.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decide, parseRequest, parseXacmlPolicy, XacmlInvalid, xmlResponse } from '@ringwall/identity/xacml'
import { readOptions, text } from '../tools/options.ts'

interface Seen {
  readonly decision: string
  readonly status: string
  readonly duties: readonly string[]
}

const { cases } = readOptions({ cases: text(undefined) })
if (cases === undefined) {
  process.stderr.write('name the folder of cases: npm run conformance:xacml -- --cases DIR\n')
  process.exit(2)
}

/** What of a Response counts. */
function seenIn(response: string): Seen {
  const all = (pattern: RegExp): readonly string[] => [...response.matchAll(pattern)].map((found) => found[1] as string)
  return {
    decision: all(/<(?:\w+:)?Decision>\s*(\w+)/g).join(' '),
    status: all(/<(?:\w+:)?StatusCode\s+Value="([^"]*)"/g).join(' '),
    duties: all(/(?:ObligationId|AdviceId|AttributeAssignment [^>]*AttributeId)="([^"]*)"/g),
  }
}

const counts = { 'as expected': 0, 'refused when read': 0, 'passed over': 0, wrong: 0 }
for (const name of readdirSync(cases).sort()) {
  const at = (file: string): string => join(cases, name, file)
  if (!existsSync(at('Policy.xml'))) continue
  const read = (file: string): string => readFileSync(at(file), 'utf8')
  let problem: string | undefined
  try {
    const policy = parseXacmlPolicy(read('Policy.xml'))
    if (!existsSync(at('Request.xml'))) {
      counts['passed over'] += 1
      continue
    }
    const [got, expected] = [
      seenIn(xmlResponse(decide(policy, parseRequest(read('Request.xml')), Date.now()))),
      seenIn(read('Response.xml')),
    ]
    if (JSON.stringify(got) !== JSON.stringify(expected))
      problem = `expected ${JSON.stringify(expected)}, found ${JSON.stringify(got)}`
  } catch (error) {
    if (!(error instanceof XacmlInvalid)) throw error
    if (!existsSync(at('Request.xml'))) {
      counts['refused when read'] += 1
      continue
    }
    problem = `refused at ${error.place.line}:${error.place.column}: ${error.message}`
  }
  counts[problem === undefined ? 'as expected' : 'wrong'] += 1
  if (problem !== undefined) process.stdout.write(`${name}: ${problem}\n`)
}
process.stdout.write(
  `${Object.entries(counts)
    .map(([what, count]) => `${count} ${what}`)
    .join(', ')}\n`,
)
process.exitCode = counts.wrong === 0 && counts['as expected'] > 0 ? 0 : 1
