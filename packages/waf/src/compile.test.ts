import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { compileRules } from './compile.ts'
import { RuleSyntaxError } from './errors.ts'
import { baseRuleSources, compile, send } from './test-requests.ts'

const REFUSED: readonly (readonly [rules: string, at: string, says: RegExp])[] = [
  ['SecRule ARGS "@rx a" "phase:2,deny"', '1:1', /a rule without an id/],
  ['\n\n  SecRulez ARGS "@rx a" "id:1"', '3:3', /the directive SecRulez/],
  ['SecRule ARGZ "@rx a" "id:1"', '1:9', /the variable ARGZ/],
  ['SecRule ARGS|REQUEST_METHOD:x "@rx a" "id:1"', '1:29', /a selector on REQUEST_METHOD/],
  ['SecRule ARGS "@regex a" "id:1"', '1:15', /the operator @regex/],
  ['SecRule ARGS "@rx (a" "id:1"', '1:21', /a group that is not closed/],
  ['SecRule ARGS "@rx a" "id:1,t:rot13"', '1:30', /the transformation rot13/],
  ['SecRule ARGS "@rx a" "id:1,explode"', '1:28', /the action explode/],
  ['SecRule ARGS "@rx a" "id:1,phase:6,deny"', '1:34', /phase:6/],
  ['SecRule ARGS "@rx a" "id:1,redirect:http://x/"', '1:28', /the action redirect/],
  ['SecRule XML:/a[1] "@rx a" "id:1"', '1:13', /the XPath expression/],
  ['SecRule ARGS "@pmFromFile words.data" "id:1"', '1:27', /the data file words\.data/],
  ['SecAuditEngine Sometimes', '1:16', /SecAuditEngine Sometimes/],
  ['SecAuditLog /var/log/a.log', '1:13', /a file for the audit log/],
  ['SecRuleRemoveById a', '1:19', /the rule id a/],
  ['SecRuleUpdateActionById 7 "pass"', '1:25', /the rule 7/],
  ['Include other.conf', '1:1', /the directive Include/],
  ['SecRule ARGS "@rx a" "id:1,severity:LOUD"', '1:37', /the severity LOUD/],
  ['SecRule ARGS "@rx a" "id:1,pass"\nSecRule ARGS "@rx b" "id:1,pass"', '2:23', /the rule id 1, already used at test\.conf:1/],
  ['SecRule ARGS "@rx a" "id:1,chain"\nSecMarker END', '1:1|2:1', /a chain that is not finished/],
  ['SecRule ARGS "@rx a" "id:1,chain"', '1:1', /a chain that is not finished/],
  ['SecRule ARGS "@rx a" "id:1,pass,skipAfter:NOWHERE"', '1:43', /the marker NOWHERE/],
  ['SecRule ARGS "@rx a "id:1"', '1:22', /text right after a closing quote/],
  ['SecRule ARGS "@rx a" "id:1,setvar:args.count=1"', '1:35', /setvar:args\.count=1/],
  ['SecRule ARGS "@rx a" "id:1,ctl:hashEngine=Off"', '1:32', /ctl:hashengine/],
  ['SecRule !ARGS:a "@rx a" "id:1"', '1:9', /only exclusions/],
  ['SecRule ARGS "@ipMatch 10.0.0.0/40" "id:1"', '1:24', /the address 10\.0\.0\.0\/40/],
  ['SecRuleEngine Maybe', '1:15', /SecRuleEngine Maybe/],
  ['SecRule ARGS "@rx a" \\', '1:23', /the file ends in a continued line/],
  ['SecRule ARGS:/a(/ "@rx a" "id:1"', '1:17', /in the pattern/],
]

test('a rule that cannot be used is refused at its place, with what was expected', () => {
  for (const [rules, at, says] of REFUSED) {
    assert.throws(
      () => compile(rules),
      (error) => {
        assert.ok(error instanceof RuleSyntaxError, String(error))
        assert.match(error.message, says, rules)
        assert.match(error.message, /; expected /)
        assert.ok(at.split('|').includes(`${error.line}:${error.column}`), `${rules}: ${error.message}, not ${at}`)
        return true
      },
    )
  }
})

test('the place is right behind continued lines and in the second of two files', () => {
  const files = [
    { file: 'a.conf', text: 'SecRule ARGS "@rx a" "id:1,pass"\n' },
    { file: 'b.conf', text: '# comment\nSecRule ARGS "@rx a" \\\n    "id:2,\\\n    t:nothing"\n' },
  ]
  assert.throws(() => compileRules(files, { paranoia: 1 }), /^RuleSyntaxError: b\.conf:4:7: the transformation nothing; expected/)
})

test('property: no text makes the compiler throw anything but RuleSyntaxError', () => {
  const fragment = fc.constantFrom(
    'SecRule',
    ' ARGS',
    '|!ARGS:x',
    ' "@rx ',
    '(a|b)+',
    '[^a',
    '\\x4',
    '"',
    "'",
    ' "id:7',
    ',chain',
    ',t:lowercase',
    ',setvar:tx.a=+1',
    '\\\n',
    '\n',
    '%{tx.a}',
    '&',
    ':/a/',
    '@pm a b',
    ' SecAction',
  )
  fc.assert(
    fc.property(fc.array(fc.oneof(fragment, fc.string({ maxLength: 6 })), { maxLength: 16 }), (parts) => {
      try {
        compile(parts.join(''))
      } catch (error) {
        assert.ok(error instanceof RuleSyntaxError, `${error}`)
      }
    }),
    { numRuns: 3_000 },
  )
})

/** They set variables and say nothing. */
const SETTING_UP: ReadonlySet<number> = new Set([100_000, 110_022, 160_000, 160_001])

test('the base rules compile, each with an id of its own range, a message and a tag of what it is about', () => {
  const rules = compileRules(baseRuleSources(), { paranoia: 1 })
  assert.ok(rules.ruleCount >= 50, String(rules.ruleCount))
  for (const rule of rules.rules) {
    assert.ok(rule.id >= 100_000 && rule.id < 200_000, String(rule.id))
    if (SETTING_UP.has(rule.id) || rule.id >= 190_000) continue
    assert.notEqual(rule.message, '', `rule ${rule.id}`)
    assert.ok(
      rule.tags.some((tag) => tag.startsWith(rule.phase <= 2 ? 'attack-' : 'leak-')),
      `rule ${rule.id}`,
    )
  }
})

test('paranoia and exclusions leave rules out', () => {
  const text = `SecRule ARGS "@contains one" "id:1,deny"
SecRule ARGS "@contains two" "id:2,deny,tag:'paranoia-level/2'"`
  assert.equal(compile(text).ruleCount, 1)
  assert.equal(compile(text, { paranoia: 2 }).ruleCount, 2)
  assert.deepEqual(
    compile(text, { paranoia: 2 })
      .excluding([1])
      .rules.map(({ id }) => id),
    [2],
  )
  assert.equal(send(compile(text).excluding([1]), { target: '/?q=one' }).blocked, false)
})
