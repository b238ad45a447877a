import assert from 'node:assert/strict'
import { test } from 'node:test'
import { compileRules } from './compile.ts'
import { baseRuleSources } from './test-requests.ts'
import type { WafVerdict } from './types.ts'

const rules = compileRules(baseRuleSources(), { paranoia: 1 })

function answer(status: number, body: string, type = 'text/html; charset=utf-8'): WafVerdict {
  const transaction = rules.begin()
  const headers = [['Host', 'shop.example']] as const
  transaction.requestHead({ method: 'GET', target: '/', httpVersion: '1.1', headers, remoteAddress: '192.0.2.1' })
  transaction.requestBody(new Uint8Array(), false)
  assert.equal(transaction.inspectsResponses, true)
  transaction.responseHead({ status, protocol: 'HTTP/1.1', headers: [['Content-Type', type]] })
  return transaction.responseBody(new TextEncoder().encode(body), false)
}

const KEY = `-----BEGIN RSA PRIVATE KEY-----\n${'MIIEpAIBAAKCAQEA7bq1Z5tq'.repeat(5)}\n-----END RSA PRIVATE KEY-----`

/** Each is what some program really says when it breaks. */
const BROKEN: Readonly<Record<string, string>> = {
  MySQL: '<p>You have an error in your SQL syntax; check the manual that corresponds to your MariaDB server version</p>',
  PostgreSQL: '{"error":"syntax error at or near \\"FROM\\" at character 9"}',
  'PostgreSQL, plain': 'ERROR:  syntax error at or near "FORM"\nLINE 1: SELECT 1 FORM a',
  Oracle: 'ORA-00933: SQL command not properly ended',
  'SQL Server': "Unclosed quotation mark after the character string 'x'.",
  SQLite: 'sqlite3.OperationalError: near "x": syntax error',
  PDO: 'SQLSTATE[42000]: Syntax error or access violation: 1064',
  Python: 'Traceback (most recent call last):\n  File "/srv/app/views.py", line 12, in get\n    raise X',
  'Python in HTML': 'Traceback (most recent call last):\n  File &quot;/srv/app/views.py&quot;, line 12',
  Java: 'java.lang.NullPointerException\n\tat com.example.shop.Cart.total(Cart.java:42)\n',
  PHP: '<br />\n<b>Fatal error</b>:  Uncaught Error: x in <b>/var/www/html/index.php</b> on line <b>3</b><br />',
  Node: 'TypeError: x is not a function\n    at handler (/srv/app/node_modules/express/lib/router.js:95:5)',
  'Node, ESM': 'Error: x\n    at run (file:///srv/app/main.mjs:9:1)',
  '.NET': '   at System.Web.HttpApplication.Execute()\n',
  Go: 'panic: runtime error\n\ngoroutine 18 [running]:\nmain.main()',
  Rust: "thread 'main' panicked at src/main.rs:4:5",
  Ruby: "/srv/app/models/cart.rb:12:in `total'",
}

for (const [name, body] of Object.entries(BROKEN)) {
  test(`what breaks does not tell how: ${name}`, () => {
    assert.equal(answer(500, body).blocked, true)
    // A page about it is only noted.
    const page = answer(200, body)
    assert.deepEqual([page.blocked, page.matches.length > 0], [false, true])
  })
}

test('secrets and files of the system stay inside whatever the status', () => {
  assert.equal(answer(200, KEY, 'text/plain').blocked, true)
  assert.equal(answer(200, JSON.stringify({ key: KEY }), 'application/json').blocked, true)
  assert.equal(answer(200, 'root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n').blocked, true)
  assert.equal(answer(200, `aws_secret_access_key = ${'a1B2c3D4/+'.repeat(4)}\n`, 'text/plain').blocked, true)
  assert.equal(answer(200, '<?php\n$password = "x";').blocked, true)
})

test('pages that only look like leaks pass', () => {
  for (const [status, body] of [
    [200, 'The public half begins with -----BEGIN PUBLIC KEY-----, the private one with -----BEGIN PRIVATE KEY-----.'],
    [200, '<p>Open a tag with <code>&lt;?php</code> and close it.</p>'],
    [200, 'The first line of /etc/passwd is root:x:0:0:root:/root:/bin/bash on most systems.'],
    [500, '<h1>500 Internal Server Error</h1><p>Something went wrong; the error has been logged.</p>'],
    [503, '{"error":"temporarily unavailable","retryAfter":5}'],
    [502, 'Bad gateway: the upstream at 10.0.0.3:8080 did not answer.'],
    [200, '<title>Index of /pub</title><pre><a href="../">Parent Directory</a></pre>'],
  ] as const)
    assert.equal(answer(status, body).blocked, false, body)
})

test('a large page costs a bounded amount of work and passes', () => {
  const rehearsal = rules.rehearse()
  const headers = [['Host', 'shop.example']] as const
  rehearsal.requestHead({ method: 'GET', target: '/', httpVersion: '1.1', headers, remoteAddress: '192.0.2.1' })
  rehearsal.requestBody(new Uint8Array(), false)
  const before = rehearsal.work
  rehearsal.responseHead({ status: 500, protocol: 'HTTP/1.1', headers: [['Content-Type', 'text/html']] })
  const page = 'at the warning: near "x" <title>root: traceback (most recent call last) sqlstate /a.rb '.repeat(2_000)
  const verdict = rehearsal.responseBody(new TextEncoder().encode(page), true)
  assert.equal(verdict.blocked, false, JSON.stringify(verdict.matches))
  assert.ok(rehearsal.work > before)
  assert.ok(rehearsal.work - before < 131_072 * 64, String(rehearsal.work - before))
})
