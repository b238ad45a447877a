import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { createGuard, type GuardEnvironment, type GuardRequest } from '@ringwall/guard'
import { compilePolicy, createDenialIndex, parsePolicyDocument, type View } from '@ringwall/ring'
import { compileRules, type HeaderField } from '@ringwall/waf'
import { freePort } from '../../../tools/free-ports.ts'
import { asctime } from './audit-entry.ts'
import { AuditLog, type AuditOptions } from './audit-log.ts'

const MODULE = '/usr/lib/nginx/modules/ngx_http_modsecurity_module.so'
const NGINX = '/usr/sbin/nginx'
const folder = mkdtempSync(join(tmpdir(), 'ringwall-audit-'))
after(() => rmSync(folder, { recursive: true, force: true }))

const RULES = `SecRuleEngine On
SecRequestBodyAccess On
SecRule ARGS "@rx union\\s+select" "id:1001,phase:2,deny,status:403,t:none,t:lowercase,log,auditlog,msg:'SQL union',logdata:'found %{MATCHED_VAR}',tag:'attack-sqli',tag:'t2',severity:CRITICAL,ver:'v/1',rev:'2',maturity:'7',accuracy:'8'"
SecRule ARGS:quiet "@streq 1" "id:1002,phase:2,pass,t:none,noauditlog,msg:'not worth it',severity:NOTICE"
SecRule ARGS:off "@streq 1" "id:1003,phase:1,pass,t:none,nolog,ctl:auditEngine=Off"
SecRule ARGS:less "@streq 1" "id:1004,phase:1,pass,t:none,nolog,ctl:auditLogParts=-BC"
SecRule REQUEST_COOKIES "@contains evil" "id:1005,phase:2,pass,t:none,msg:'cookie %{MATCHED_VAR}',logdata:'%{MATCHED_VAR}',severity:WARNING"
`

interface Audited {
  readonly client_ip: string
  readonly unique_id: string
  readonly request: { readonly headers?: Record<string, string>; readonly body?: string; readonly uri: string } & Record<
    string,
    unknown
  >
  readonly response: { readonly http_code: number; readonly headers?: Record<string, string> }
  readonly producer: Record<string, unknown>
  readonly messages: readonly { readonly message: string; readonly details: Record<string, unknown> }[]
}

let files = 0

/** Judges requests as a node does, and gives back what the audit log says of them. */
async function audited(
  options: Partial<AuditOptions>,
  requests: readonly {
    readonly target: string
    readonly body?: string
    readonly headers?: readonly HeaderField[]
    readonly status?: number
  }[],
  rules = RULES,
  mode = 'enforce',
): Promise<readonly Audited[]> {
  files += 1
  const file = join(folder, `${files}.log`)
  const settings = { engine: undefined, parts: undefined, relevantStatus: undefined, bytesWaiting: 1_000_000, ...options }
  const audit = new AuditLog(
    { file, ...settings },
    { ring: 'r', node: 'n1', listen: { host: '127.0.0.1', port: 8081 }, log: () => {} },
  )
  await audit.start()
  const document = parsePolicyDocument(
    `version: 1\nservices:\n  app:\n    upstreams: [{ url: "http://127.0.0.1:1" }]\n    waf: { mode: ${mode}, rules: [own] }\n`,
  )
  assert.ok(document.ok)
  const compiled = compilePolicy(document.policy, compileRules, new Map([['own', [{ file: '/rules/own.conf', text: rules }]]]))
  assert.ok(compiled.ok, JSON.stringify(compiled))
  const nothing = createDenialIndex([])
  const view = {
    denials: nothing,
    height: 1,
    blockTimestampMs: 0,
    ...compiled.compiled,
  } as unknown as View
  const environment: GuardEnvironment = {
    view,
    provisional: nothing,
    tokens: { verify: () => ({ ok: false, code: 'X', reason: 'x' }) },
    nowMs: 1_000,
    certifiedAtMs: 1_000,
  }
  const guard = createGuard({ witness: (judged, body, _, nowMs) => audit.judged(judged, body, nowMs) })
  for (const [at, { target, body = '', headers = [], status }] of requests.entries()) {
    const bytes = Buffer.from(body)
    const asked: GuardRequest = {
      method: body === '' ? 'GET' : 'POST',
      target,
      httpVersion: '1.1',
      headers: [
        ['Host', 'x'],
        ...headers,
        ...(body === '' ? [] : [['Content-Type', 'application/x-www-form-urlencoded'] as const]),
      ],
      remoteAddress: '192.0.2.1',
      host: 'x',
      path: target.split('?', 1)[0]!,
      requestId: `n1-${at}`,
    }
    const judged = guard.body(await guard.head(asked, environment), bytes, false, environment)
    bytes.fill(0)
    audit.finished(`n1-${at}`, status ?? judged.decision!.status, ['Content-Type', 'text/plain', 'Set-Cookie', 'id=1'])
  }
  await audit.stop()
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { transaction: Audited }).transaction)
}

const ATTACK = { target: '/p?q=1+UNION+SELECT+2&token=abc' }

test('RelevantOnly: what a rule with auditlog matched, and what ends in a relevant status; nothing else', async () => {
  const relevantStatus = /^5/
  const entries = await audited({ relevantStatus }, [
    ATTACK,
    { target: '/a' },
    { target: '/b', status: 502 },
    { target: '/c?quiet=1' },
  ])
  assert.deepEqual(
    entries.map(({ unique_id, response }) => [unique_id, response.http_code]),
    [
      ['n1-0', 403],
      ['n1-2', 502],
    ],
  )
})

test('On: everything; ctl:auditEngine=Off takes one out where the rules decide', async () => {
  const asked = [{ target: '/a' }, { target: '/b?off=1' }]
  assert.equal((await audited({ engine: 'On' }, asked)).length, 2)
  const said = `SecAuditEngine On\nSecAuditLogParts ABZ\nSecAuditLogType Serial\nSecAuditLogFormat JSON\n${RULES}`
  const entries = await audited({}, asked, said)
  assert.deepEqual(
    entries.map(({ unique_id }) => unique_id),
    ['n1-0'],
  )
  assert.equal(entries[0]?.messages, undefined, 'parts ABZ')
  assert.equal((await audited({}, asked, `SecAuditEngine Off\n${RULES}`)).length, 0)
})

test('SecAuditLogRelevantStatus of the rules counts where the node says nothing', async () => {
  const rules = `SecAuditEngine RelevantOnly\nSecAuditLogRelevantStatus "^(?:5|4(?!04))"\n${RULES}`
  const entries = await audited(
    {},
    [
      { target: '/a', status: 404 },
      { target: '/b', status: 400 },
      { target: '/c', status: 500 },
    ],
    rules,
  )
  assert.deepEqual(
    entries.map(({ response }) => response.http_code),
    [400, 500],
  )
})

test('parts choose what is in an entry, and a rule may take some out', async () => {
  const [whole] = await audited({ engine: 'On', parts: 'ABCHZ' }, [{ target: '/a', body: 'x=1' }])
  assert.deepEqual(Object.keys(whole!.request), ['method', 'http_version', 'uri', 'body', 'headers'])
  assert.equal(whole?.request.body, 'x=1')
  assert.equal(whole?.response.headers, undefined)
  const [answered] = await audited({ engine: 'On', parts: 'AFZ' }, [{ target: '/a' }])
  assert.deepEqual(answered?.response.headers, { 'Content-Type': 'text/plain', 'Set-Cookie': '[masked]' })
  const [bare] = await audited({ engine: 'On', parts: 'AZ' }, [{ target: '/a', body: 'x=1' }])
  assert.deepEqual(Object.keys(bare!.request), ['method', 'http_version', 'uri'])
  const [less] = await audited({}, [{ target: '/a?less=1', body: 'x=1' }], `SecAuditEngine On\nSecAuditLogParts ABCZ\n${RULES}`)
  assert.deepEqual(Object.keys(less!.request), ['method', 'http_version', 'uri'])
})

test('credentials are masked wherever they are', async () => {
  const headers: readonly HeaderField[] = [
    ['Cookie', 'sid=evilsecret'],
    ['Authorization', 'Bearer topsecret99'],
  ]
  const [entry] = await audited({}, [{ target: '/a?password=hunter22&q=union+select', body: 'token=hunter33&b=1', headers }])
  assert.doesNotMatch(JSON.stringify(entry), /evilsecret|topsecret|hunter/)
  assert.ok(entry?.messages.some(({ details }) => details.ruleId === '1001'))
})

test('a rule set that only watches says DetectionOnly', async () => {
  const [entry] = await audited({}, [ATTACK], RULES, 'shadow')
  assert.equal(entry?.producer.secrules_engine, 'DetectionOnly')
})

test('where a rule set wants a file of its own, other formats or odd parts, it is refused with its place', () => {
  const wrong: readonly [string, RegExp][] = [
    ['SecAuditLog /var/log/audit.log', /a\.conf:1:13: a file for the audit log.*node\.yaml/],
    ['SecAuditLogFormat Native', /a\.conf:1:19: .*JSON/],
    ['SecAuditLogType Concurrent', /a\.conf:1:17/],
    ['SecAuditLogParts BCZ', /a\.conf:1:18/],
    ['SecAuditLogRelevantStatus "("', /a\.conf:1:\d+/],
  ]
  for (const [text, message] of wrong) assert.throws(() => compileRules([{ file: 'a.conf', text }], { paranoia: 1 }), message)
})

test('times are written as asctime writes them', () => {
  assert.equal(asctime(new Date(2026, 10, 1, 3, 4, 5)), 'Sun Nov  1 03:04:05 2026')
})

const installed = existsSync(MODULE) && existsSync(NGINX)

test('an entry is as libmodsecurity writes it for the same rules and request', {
  skip: installed ? false : 'nginx with ModSecurity is not installed',
}, async () => {
  const log = join(folder, 'modsec.log')
  const rules = join(folder, 'modsec.conf')
  const setup = `SecAuditEngine RelevantOnly\nSecAuditLogParts ABCFHZ\nSecAuditLogType Serial\nSecAuditLogFormat JSON\n`
  writeFileSync(rules, `${setup}SecAuditLog ${log}\n${RULES}`)
  const port = await freePort()
  const conf = join(folder, 'nginx.conf')
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${join(folder, name)};`)
    .join(' ')
  writeFileSync(
    conf,
    `load_module ${MODULE};\ndaemon off; master_process off; pid ${join(folder, 'nginx.pid')}; error_log ${join(folder, 'error.log')};\nevents {}\nhttp { access_log off; ${temp}\n server { listen 127.0.0.1:${port}; modsecurity on; modsecurity_rules_file ${rules}; location /p { proxy_pass http://127.0.0.1:${port}/q; } location /q { return 200 "ok"; } } }\n`,
  )
  const nginx: ChildProcess = spawn(NGINX, ['-c', conf, '-e', join(folder, 'error.log')], { stdio: 'ignore' })
  try {
    const headers: readonly HeaderField[] = [
      ['User-Agent', 'check'],
      ['X-Text', 'abc'],
    ]
    const target = '/p?q=1+UNION+SELECT+2&z=%C3%A9'
    const form = 'a=b&c=xé'
    await post(port, target, headers, form)
    const theirs = (JSON.parse(readFileSync(log, 'utf8').trim()) as { transaction: Audited }).transaction
    const [ours] = await audited({}, [{ target, body: form, headers }], setup + RULES)
    assert.deepEqual(Object.keys(ours!), Object.keys(theirs))
    assert.deepEqual(Object.keys(ours!.request), Object.keys(theirs.request))
    for (const key of ['method', 'http_version', 'uri', 'body']) assert.deepEqual(ours!.request[key], theirs.request[key], key)
    assert.equal(ours!.request.headers!['X-Text'], theirs.request.headers!['X-Text'])
    assert.equal(ours!.response.http_code, theirs.response.http_code)
    assert.deepEqual(Object.keys(ours!.producer), Object.keys(theirs.producer))
    assert.equal(ours!.producer.secrules_engine, theirs.producer.secrules_engine)
    assert.equal(ours!.messages.length, theirs.messages.length)
    const [our, their] = [ours!.messages[0]!, theirs.messages[0]!]
    assert.equal(our.message, their.message)
    assert.deepEqual(Object.keys(our.details), Object.keys(their.details))
    const shift = { reference: '', file: '', lineNumber: '' }
    assert.deepEqual({ ...our.details, ...shift }, { ...their.details, ...shift })
    const text = readFileSync(rules, 'utf8').split('\n')
    assert.match(text[Number(their.details.lineNumber) - 1]!, /id:1001/)
    assert.match((setup + RULES).split('\n')[Number(our.details.lineNumber) - 1]!, /id:1001/)
  } finally {
    nginx.kill('SIGKILL')
  }
})

async function post(port: number, path: string, fields: readonly HeaderField[], body: string): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await new Promise<void>((settle, refuse) => {
        const headers = { ...Object.fromEntries(fields), 'content-type': 'application/x-www-form-urlencoded' }
        const call = httpRequest({ host: '127.0.0.1', port, path, method: 'POST', headers }, (response) => {
          response.resume()
          response.on('end', settle)
        })
        call.on('error', refuse)
        call.end(body)
      })
      return
    } catch (error) {
      if (attempt > 200) throw error
      await new Promise((wake) => setTimeout(wake, 50))
    }
  }
}

test('a request whose end nobody tells costs its own entry, not those of others', async () => {
  const file = join(folder, 'open.log')
  const options = { file, engine: 'On', parts: 'AZ', relevantStatus: undefined, bytesWaiting: 1_000_000 } as const
  const audit = new AuditLog(options, { ring: 'r', node: 'n1', listen: { host: '127.0.0.1', port: 1 }, log: () => {} })
  await audit.start()
  const state = { engine: undefined, parts: undefined, wanted: false, isRelevant: undefined, ruleEngine: 'On', components: [] }
  const judged = (requestId: string) =>
    ({
      request: { method: 'GET', target: '/', httpVersion: '1.1', headers: [], remoteAddress: 'x', requestId },
      route: { wafMode: 'enforce', rules: undefined, patches: [] },
      verdict: { matches: [] },
      waf: { audit: state },
    }) as unknown as Parameters<typeof audit.judged>[0]
  for (let i = 0; i < 20_001; i += 1) audit.judged(judged(`r${i}`), new Uint8Array(0), 0)
  audit.finished('r0', 200, [])
  audit.finished('r20000', 200, [])
  await audit.stop()
  assert.deepEqual([audit.written, audit.dropped], [1, 1])
  assert.match(readFileSync(file, 'utf8'), /"unique_id":"r20000"/)
})
