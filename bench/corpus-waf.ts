/**
 * `npm run corpus:waf`: what the base rules find in the corpus (packages/waf/corpus), by class: attacks found, honest requests
 * refused, both for the part that rules are tuned on and for the held-out part. Every line is placed in the query (escaped
 * and with every byte escaped), a form, JSON and multipart; request targets, header fields and JSON documents as they are.
 *
 *   --wrong      also prints each line that was judged wrongly, with the rules that matched
 *   --rules DIR  rules of another folder than packages/waf/rules
 *   --file FILE  instead of the corpus: a file of payloads, one a line, every line taken for an attack
 *   --text FILE  instead of the corpus: a file of texts, one a line, every line taken for honest
 */

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { compileRules } from '../packages/waf/src/index.ts'
import { placed } from '../packages/waf/src/test-corpus.ts'
import { type ClassCount, countClasses } from '../packages/waf/src/test-corpus-table.ts'
import { baseRuleSources, send } from '../packages/waf/src/test-requests.ts'
import { flag, readOptions, text } from '../tools/options.ts'

const {
  rules: folder,
  file: payloads,
  text: texts,
  wrong: showWrong,
} = readOptions({ rules: text(undefined), file: text(undefined), text: text(undefined), wrong: flag() })
const sources =
  folder === undefined
    ? baseRuleSources()
    : readdirSync(folder)
        .filter((file) => file.endsWith('.conf'))
        .sort()
        .map((file) => ({ file, text: readFileSync(join(folder, file), 'utf8') }))
const rules = compileRules(sources, { paranoia: 1 })

const percent = (part: number, whole: number, digits: number): string =>
  whole === 0 ? '' : `${((100 * part) / whole).toFixed(digits)} %`

function printWrong(counts: readonly ClassCount[]): void {
  for (const { class: name, wrong } of counts) {
    for (const { placement, text, sent } of wrong) {
      const ids = send(rules, sent).matches.map(({ ruleId }) => ruleId)
      process.stdout.write(`  ${name}, ${placement}${ids.length === 0 ? '' : ` (${ids.join(' ')})`}: ${JSON.stringify(text)}\n`)
    }
  }
}

function table(title: string, kind: 'attacks' | 'benign', word: string, digits: number): void {
  const tuned = countClasses(rules, kind)
  const heldOut = countClasses(rules, `held-out/${kind}`)
  const names = [...new Set([...tuned, ...heldOut].map(({ class: name }) => name))].sort()
  const cell = (counts: readonly ClassCount[], name: string | undefined): string => {
    const chosen = counts.filter((count) => name === undefined || count.class === name)
    const requests = chosen.reduce((sum, count) => sum + count.requests, 0)
    const blocked = chosen.reduce((sum, count) => sum + count.blocked, 0)
    return `${String(requests).padStart(9)}${String(blocked).padStart(9)}${percent(blocked, requests, digits).padStart(11)}`
  }
  process.stdout.write(
    `${title.padEnd(26)}${'requests'.padStart(9)}${word.padStart(9)}${''.padStart(11)}   held-out${word.padStart(9)}\n`,
  )
  for (const name of names) process.stdout.write(`${name.padEnd(26)}${cell(tuned, name)}  ${cell(heldOut, name)}\n`)
  process.stdout.write(`${'all'.padEnd(26)}${cell(tuned, undefined)}  ${cell(heldOut, undefined)}\n\n`)
  if (showWrong) for (const counts of [tuned, heldOut]) printWrong(counts)
}

function linesOf(file: string): readonly string[] {
  try {
    return readFileSync(file, 'utf8').split(/\r?\n/)
  } catch (error) {
    process.stderr.write(
      `${file}: cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown'}); it takes a file of texts, one a line\n`,
    )
    process.exit(2)
  }
}

function measure(file: string, hostile: boolean): void {
  const lines = linesOf(file)
  const cases = lines.filter((line) => line.trim() !== '').flatMap((line) => placed('text.txt', line))
  const wrong = cases.filter(({ sent }) => send(rules, sent).blocked !== hostile)
  process.stdout.write(
    `${file}: ${cases.length} requests, ${wrong.length} judged wrongly (${percent(wrong.length, cases.length, 2)})\n`,
  )
  if (showWrong) printWrong([{ class: 'text', requests: cases.length, blocked: 0, wrong }])
}

if (payloads !== undefined) measure(payloads, true)
else if (texts !== undefined) measure(texts, false)
else {
  table('attacks', 'attacks', 'found', 1)
  table('honest', 'benign', 'refused', 3)
}
