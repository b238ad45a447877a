import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { compileRules } from '@ringwall/waf'
import { StartError } from './errors.ts'
import { findCrs, loadRuleLibrary, readCrs } from './rules.ts'

/** A folder laid out as a release of the Core Rule Set is, with rules of our own in it. */
function layout(context: { after(end: () => void): void }, setup: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'ringwall-crs-'))
  context.after(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'rules'))
  writeFileSync(join(folder, setup), 'SecAction "id:900000,phase:1,nolog,pass,setvar:tx.seen=1"\n')
  writeFileSync(
    join(folder, 'rules', 'REQUEST-901-INITIALIZATION.conf'),
    'SecComponentSignature "OWASP_CRS/3.9.9"\nSecRule ARGS "@pmFromFile words.data" "id:1,phase:2,deny,chain"\n  SecRule TX:seen "@eq 1"\n',
  )
  writeFileSync(join(folder, 'rules', 'RESPONSE-999-LAST.conf'), 'SecRule ARGS:b "@rx ^\\\\\\\\$" "id:2,phase:2,deny"\n')
  writeFileSync(join(folder, 'rules', 'words.data'), '# words\nevil\n')
  writeFileSync(join(folder, 'rules', 'README'), 'not a rule')
  return folder
}

const refused = (message: RegExp) => (error: unknown) =>
  error instanceof StartError && error.code === 'RULES_INVALID' && message.test(error.message)

test('a folder with the Core Rule Set gives its configuration first, then its rules and data', (context) => {
  for (const setup of ['crs-setup.conf', 'crs-setup.conf.example']) {
    const folder = layout(context, setup)
    const crs = findCrs(folder)
    assert.equal(crs.signature, 'OWASP_CRS/3.9.9')
    const [own, ...sources] = readCrs(crs)
    assert.equal(own?.file, 'responses.conf')
    assert.deepEqual(
      sources.map(({ file, kind }) => [file.slice(folder.length + 1), kind ?? 'rules']),
      [
        [setup, 'rules'],
        [join('rules', 'REQUEST-901-INITIALIZATION.conf'), 'rules'],
        [join('rules', 'RESPONSE-999-LAST.conf'), 'rules'],
        [join('rules', 'words.data'), 'data'],
      ],
    )
    const library = loadRuleLibrary({ crs: folder })
    const rules = compileRules(library.get('crs')!, { paranoia: 1 })
    const judge = (target: string): boolean => {
      const transaction = rules.begin()
      transaction.requestHead({ method: 'GET', target, httpVersion: '1.1', headers: [], remoteAddress: '192.0.2.1' })
      return transaction.requestBody(new Uint8Array(), false).blocked
    }
    assert.equal(judge('/?a=EVIL'), true)
    assert.equal(judge('/?a=good'), false)
    // Version 3 writes four backslashes for one.
    assert.equal(judge('/?b=%5C'), true)
    assert.equal(judge('/?b=%5C%5C'), false)
  }
})

test('a folder that is not what it is named for is refused in words', (context) => {
  const folder = layout(context, 'crs-setup.conf')
  rmSync(join(folder, 'crs-setup.conf'))
  assert.throws(() => findCrs(folder), refused(/without crs-setup\.conf: copy crs-setup\.conf\.example/))
  assert.throws(() => findCrs(join(folder, 'rules')), refused(/does not hold the Core Rule Set: expected rules/))
  assert.throws(() => loadRuleLibrary({ mine: join(folder, 'nowhere') }), refused(/rule set mine: there is no folder/))
})

test('any other folder gives its .conf files, and what they name', (context) => {
  const folder = join(layout(context, 'crs-setup.conf'), 'rules')
  const sources = loadRuleLibrary({ mine: folder }).get('mine')!
  assert.equal(sources.length, 3)
  assert.equal(sources.filter(({ kind }) => kind === 'data').length, 1)
})
