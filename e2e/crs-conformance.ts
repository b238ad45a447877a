/**
 * `npm run conformance:crs -- --crs DIR --tests DIR`: the Core Rule Set's own regression tests over the engine, with the rules
 * as they are and the settings that CRS's `tests/regression/README.md` asks for. No overrides and no list of tests to pass over.
 */

import { compileRules } from '@ringwall/waf'
import { boundPatternTime, findCrs, readCrs } from '../packages/node/src/rules.ts'
import { endUsage, flag, readOptions, text } from '../tools/options.ts'
import { runThrough } from './crs/front.ts'
import { judgeFtw, readFtwCases } from './crs/ftw.ts'
import { CRS_TEST_SETUP } from './crs/setup.ts'

const options = readOptions({ crs: text(undefined), tests: text(undefined), verbose: flag(), only: text(undefined) })
const crs = findCrs(options.crs)
const { tests } = options
if (tests === undefined) endUsage('name the folder of the tests: --tests DIR (tests/regression/tests of coreruleset)')
boundPatternTime()
const rules = compileRules(readCrs(crs, [CRS_TEST_SETUP]), { paranoia: 4 })
const cases = readFtwCases(tests).filter(({ title }) => options.only === undefined || title.startsWith(options.only))
const failures: string[] = []
let slowestMs = 0
let slowest = ''
const began = performance.now()
for (const { title, file, backend, stages } of cases) {
  for (const [i, { request, expected }] of stages.entries()) {
    const start = process.cpuUsage()
    const outcome = runThrough(rules, request, backend, 1_700_000_000_000)
    const { user, system } = process.cpuUsage(start)
    if ((user + system) / 1_000 > slowestMs) {
      slowestMs = (user + system) / 1_000
      slowest = title
    }
    const problem = judgeFtw(expected, outcome)
    if (options.verbose) process.stdout.write(`${request.toString('latin1')}\n${String(outcome.status)}\n${outcome.log}\n`)
    if (problem === undefined) continue
    failures.push(`${title}${stages.length > 1 ? ` stage ${i + 1}` : ''} (${file}): ${problem}`)
    break
  }
}
for (const failure of failures) process.stdout.write(`FAILED ${failure}\n`)
const seconds = ((performance.now() - began) / 1_000).toFixed(1)
process.stdout.write(
  `${crs.signature}: ${cases.length} cases, ${cases.length - failures.length} as expected, ${failures.length} not, in ${seconds} s; ${rules.ruleCount} rules; the slowest took ${slowestMs.toFixed(1)} ms of CPU (${slowest})\n`,
)
process.exitCode = failures.length === 0 ? 0 : 1
