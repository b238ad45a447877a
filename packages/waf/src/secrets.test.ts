import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isSecretVariable, MASKED, maskFinding, maskSecrets } from './secrets.ts'
import type { RuleFinding } from './types.ts'

for (const variable of [
  'REQUEST_HEADERS:Authorization',
  'REQUEST_HEADERS:cookie',
  'REQUEST_HEADERS:X-Api-Key',
  'REQUEST_COOKIES:lang',
  'ARGS:password',
  'ARGS:newPassword',
  'ARGS:json.user.pin',
  'ARGS_POST:csrf_token',
  'XML:session',
]) {
  test(`${variable} is a secret as a whole`, () => assert.equal(maskSecrets(variable, 'abcdef'), MASKED))
}

for (const variable of [
  'ARGS:q',
  'ARGS:shipping',
  'ARGS:compass',
  'ARGS:pinned',
  'REQUEST_HEADERS:User-Agent',
  'ARGS_NAMES:password',
  '&ARGS',
  'ARGS:author',
]) {
  test(`${variable} is none`, () => assert.equal(isSecretVariable(variable), false))
}

const texts: readonly [string, string][] = [
  ['/login?user=ada&password=hunter2&x=1', `/login?user=ada&password=${MASKED}&x=1`],
  ['sid=abc; theme=dark', `sid=${MASKED}; theme=dark`],
  ['{"user":"ada","apiKey":"s3cr3t","n":1}', `{"user":"ada","apiKey":${MASKED},"n":1}`],
  ['GET / HTTP/1.1\r\nCookie: id=1; b=2\r\nHost: x', `GET / HTTP/1.1\r\nCookie: ${MASKED}\r\nHost: x`],
  ['see Bearer eyJhbGciOi.J9.abc now', `see Bearer ${MASKED} now`],
  ["1' OR '1'='1", "1' OR '1'='1"],
  ['the author of shipping=fast', 'the author of shipping=fast'],
]
for (const [text, masked] of texts) {
  test(`within a text: ${JSON.stringify(text)}`, () => assert.equal(maskSecrets('REQUEST_URI', text), masked))
}

test('a copy of a secret in a later link of the chain is masked too, and the message that quotes it', () => {
  const part = { link: 0, transformations: [], operator: 'rx', argument: '.', negated: false, from: 0, to: 3 }
  const finding: RuleFinding = {
    ruleId: 1,
    message: 'found hunter2 here',
    severity: 'critical',
    phase: 2,
    at: 'a.conf:1',
    reported: true,
    scoreBefore: 0,
    scoreAfter: 5,
    parts: [
      { ...part, variable: 'REQUEST_COOKIES:s', value: 'hunter2', seen: 'hunter2' },
      { ...part, link: 1, variable: 'MATCHED_VAR', value: 'hunter2', seen: 'hunter2' },
      { ...part, link: 1, variable: 'TX:0', value: 'hunt', seen: 'hunt' },
    ],
    partsLeftOut: 0,
  }
  assert.doesNotMatch(JSON.stringify(maskFinding(finding)), /hunt/)
})

test('property: masking twice changes nothing, and no value of a secret parameter stays', () => {
  const word = fc.stringMatching(/^[a-z0-9]{6,20}$/)
  fc.assert(
    fc.property(word, fc.constantFrom('password', 'api_key', 'user[pass]', 'sessionToken'), (value, name) => {
      const masked = maskSecrets('QUERY_STRING', `a=1&${name}=Q${value}&b=2`)
      assert.ok(!masked.includes(`Q${value}`), masked)
      assert.equal(maskSecrets('QUERY_STRING', masked), masked)
    }),
  )
})

test('a hostile text is masked in time linear in its length', () => {
  for (const text of ['password'.repeat(20_000), 'a='.repeat(60_000), '"'.repeat(100_000), 'pass '.repeat(30_000)])
    assert.ok(maskSecrets('REQUEST_BODY', text).length <= text.length + MASKED.length * 60_000)
})
